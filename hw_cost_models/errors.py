"""The exceptions of this package, under one root."""


class HardwareCostError(Exception):
    """A cost that cannot be given; the message names the value, the place and the way out."""


class DeviceError(HardwareCostError):
    """A device that is unknown, or a profile that lacks a figure or the source of one."""


class UnknownOperatorError(HardwareCostError):
    """An operator without a formula: counting it as free would be a silent lie."""


class ExportError(HardwareCostError):
    """A module that cannot be exported. Of one among many, `name` is what it was called."""

    def __init__(self, said: str, name: str | None = None) -> None:
        super().__init__(said if name is None else f"{name}: {said}")
        self.said, self.name = said, name


class MeasurementError(HardwareCostError):
    """A measurement that could not be made or cannot be trusted."""


class DamagedFileError(HardwareCostError):
    """A file that is truncated, changed by another hand, or not what its name promises."""


class SubjectError(HardwareCostError):
    """Something that was named to be priced and is neither a network nor a file of one."""
