"""What the devices exchange in a training step: the collectives of the compiled program."""

from benchmarks import children, report
from benchmarks.rows import shrink_side

HELP = "what several devices exchange in a training step"
SIDE = 512
DEVICES = 2
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# bytes a second that a device sends, in one direction, of what is common
LINKS = {"NVLink of an H100 (450 GB/s)": 450e9, "PCIe 4.0 × 16 (32 GB/s)": 32e9,
         "InfiniBand NDR, 400 Gbit/s": 50e9, "Ethernet, 25 Gbit/s": 3.1e9}
SIZES = (2, 8, 16, 128)


def add_options(parser):
    """Options of this subject alone."""
    group = parser.add_argument_group("collectives")
    group.add_argument("--devices", type=int, default=DEVICES,
                       help="devices that the step is compiled for (default %(default)s)")
    group.add_argument("--backbone", default="resnet50", help="default %(default)s")


def run(options):
    """Compiles a step and counts; returns sections, data for JSON, and errors."""
    side = shrink_side(SIDE, options.shrink)
    try:
        found = children.run("collectives_rows:measure", devices=options.devices, side=side,
                             backbone=options.backbone)
    except children.ChildError as error:
        return [], {}, [f"Failed: collectives. {error}"]
    return [counts(found, options.devices, side, options.backbone), times(found)], found, []


def counts(found, devices, side, backbone):
    """The table of collectives by kind."""
    rows = [[kind, str(found[kind]["count"]), report.figure(found[kind]["bytes"] / 1e6)]
            for kind in KINDS]
    notes = [f"The trained weights have {report.figure(found['weights'] / 1e6)} MB."]
    notes += [f"Gathered: {size:,} bytes by {name}." for size, name in found["gathered"]]
    return report.Section(f"Collectives of a step, {backbone}, {side}², {devices} devices",
                          ["kind", "number", "MB"], rows, notes)


def times(found):
    """What the exchange takes at least, by the number of devices and the link between them."""
    size = sum(found[kind]["bytes"] for kind in KINDS)
    rows = [[link, *(report.figure(1e3 * ring_seconds(size, count, rate)) for count in SIZES)]
            for link, rate in LINKS.items()]
    return report.Section("Least time of a step's exchange, milliseconds",
                          ["link", *(f"{count} devices" for count in SIZES)], rows,
                          ["A ring sends 2 (n − 1) / n of the bytes from each device; compute and "
                           "exchange overlap in part, which is left out, as is latency."])


def ring_seconds(size, devices, rate):
    """Seconds of a ring all-reduce of `size` bytes; Patarasuk & Yuan 2009."""
    return 2 * (devices - 1) / devices * size / rate
