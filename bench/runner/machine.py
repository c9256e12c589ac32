"""What the machine offers and what the kernel says about processes: cores, CPU time, memory."""
import os
import platform
import resource

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Cores:
    """Who runs where. Apart: the proxy has a core to itself; the load generator and the mock share
    the other one of a two-core machine, and have one each where there are more. Together: all on
    one core, so that no figure contains the waking of a sleeping core, which on a virtual machine
    costs more than all that is to be measured."""

    def __init__(self, placement="apart"):
        usable = sorted(os.sched_getaffinity(0))
        self.placement = placement
        self.proxy = usable[1 % len(usable)]
        self.mock = usable[0]
        self.load = usable[2] if len(usable) > 2 else usable[0]
        if placement == "together":
            self.mock = self.load = self.proxy


def open_file_limit():
    """The limit that every process of the bench can raise itself to."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def raise_open_file_limit():
    """For the bench itself and so for all that it starts, whether they raise it or not."""
    limit = open_file_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def describe():
    """The machine in the words of the report."""
    model = ""
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "open_files": open_file_limit()}


def family(pid):
    """The process and all its descendants that are alive."""
    pids = [pid]
    for parent in pids:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as children:
                    pids += [int(child) for child in children.read().split()]
        except OSError:
            continue
    return pids


def cpu_ns(pid):
    """CPU time of all living threads of the family, in nanoseconds (from schedstat, which counts
    every nanosecond; on a kernel without it from stat, which counts ticks)."""
    if not os.path.exists("/proc/self/schedstat"):
        return int(sum(cpu_ticks_s(pid)) * 1e9)
    total = 0
    for member in family(pid):
        try:
            for thread in os.listdir(f"/proc/{member}/task"):
                with open(f"/proc/{member}/task/{thread}/schedstat", encoding="ascii") as stat:
                    total += int(stat.read().split()[0])
        except OSError:
            continue
    return total


def cpu_ticks_s(pid):
    """User and system time of the family in seconds, from stat: coarser, and split in two."""
    user = system = 0
    for member in family(pid):
        try:
            with open(f"/proc/{member}/stat", encoding="ascii") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        user += int(fields[11])
        system += int(fields[12])
    return user * TICK_S, system * TICK_S


def memory_bytes(pid):
    """Memory of the family: `rss`; `pss`, where shared pages count by their share; `private`,
    what would be free again if the processes ended."""
    total = {"rss": 0, "pss": 0, "private": 0}
    names = {"Rss": "rss", "Pss": "pss", "Private_Clean": "private", "Private_Dirty": "private",
             "Private_Hugetlb": "private"}
    for member in family(pid):
        try:
            with open(f"/proc/{member}/smaps_rollup", encoding="ascii") as rollup:
                for line in rollup:
                    name = line.split(":", 1)[0]
                    if name in names:
                        total[names[name]] += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total
