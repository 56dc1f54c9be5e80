"""One root, and the exit code that each error ends the command line with."""

from nas import errors


def test_exit_codes() -> None:
    codes = {
        errors.NasError: 1,
        errors.BadInputError: 2,
        errors.InfeasibleBudgetError: 3,
        errors.VerificationError: 4,
        errors.DivergedError: 1,
    }
    assert {error: error.exit_code for error in codes} == codes
    found = {e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)}
    assert found == set(codes), "an exception without an agreed exit code"
    assert all(issubclass(error, errors.NasError) for error in codes)
