"""A training loop of your own: `Supernet` samples, says what a sample is expected to cost, and nothing else.

`python examples/own_loop.py`
"""

import torch
from own_network import build_space
from torch.nn.functional import cross_entropy

import nas
from search_spaces import select

STEPS = 1200


def main(steps: int) -> None:
    """Learns weights and, every fourth step, the architecture; then takes the best one within the limit."""
    torch.manual_seed(0)
    space, task = build_space()
    table = nas.price(space)
    budget = nas.Budget(latency_ms=0.6 * table.cost(table.dearest()).latency_ms)
    supernet = nas.Supernet(space.network, table, budget)
    weights = torch.optim.Adam(supernet.weights(), lr=3e-3)
    architecture = torch.optim.Adam(supernet.architecture_parameters(), lr=0.1)
    duals = torch.zeros(1)  # the price of a limit: it rises while the limit is exceeded
    draws = torch.Generator().manual_seed(0)

    for step in range(steps):
        learner, split = (weights, "train") if step % 4 else (architecture, "validation")
        inputs, target = task.sample(split, 32, draws)  # or a batch of your own loader
        mixture = supernet.sample(draws)
        output, auxiliary = supernet(inputs, mixture)
        expected = supernet.cost(mixture)  # of each limit, as a part of it
        loss = cross_entropy(output, target) + auxiliary + expected @ duals
        supernet.zero_grad()
        loss.backward()
        learner.step()
        duals = (duals + 0.02 * (expected.detach() - 1)).clamp(min=0)

    best = table.problem(budget).best(supernet.log_probabilities())
    network = select(space.network, best.architecture)
    inputs, target = next(task.batches("test", 180, 1))
    with torch.no_grad():
        errors = (network(*inputs).argmax(dim=1) != target).float().mean()
    figures = table.figures(best.architecture)
    print(f"{dict(best.architecture)}: {errors:.1%} errors, {figures['latency_ms']:.3f} ms", end=" ")
    print(f"of {budget.latency_ms:.3f}")


if __name__ == "__main__":
    main(STEPS)
