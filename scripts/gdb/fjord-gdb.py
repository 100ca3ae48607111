# SPDX-License-Identifier: Apache-2.0
"""What gdb does not know of a program with Fjord: the stacks that no thread runs on now.

    (gdb) source PREFIX/share/fjord/fjord-gdb.py      unless gdb loaded it by itself
    (gdb) fjord tasks          the tasks of all loops, and what they wait for
    (gdb) fjord fibres         the stacks in use, by number
    (gdb) fjord bt N|all       the calls on a parked stack, outermost last

For a live process and for a core dump of the kernel's (gdb's own gcore stops reading at a guard); the library needs
its debug information.  Nothing in the process is changed.
"""
import re

import gdb
import gdb.unwinder

# What fj__switch() leaves on a stack, from the saved pointer up: offsets of registers, where to go on, the size of all.
LAYOUTS = {
    "i386:x86-64": ({"r15": 8, "r14": 16, "r13": 24, "r12": 32, "rbx": 40, "rbp": 48}, ("rip", 56), ("rsp", 64)),
    "aarch64": (dict([("x%d" % (19 + i), 8 * i) for i in range(12)]), ("pc", 88), ("sp", 176)),
}
# With FIBRE=ucontext it points to a ucontext_t: offsets of registers in that, x86-64 only.
UCONTEXT = {"r12": 72, "r13": 80, "r14": 88, "r15": 96, "rbp": 120, "rbx": 128, "rsp": 160, "rip": 168}


def word(at):
    data = gdb.selected_inferior().read_memory(at, 8)
    return int.from_bytes(bytes(data), "little")


def text(value):
    return value.string(errors="replace") if int(value) != 0 else "?"


def saved_registers(sp):
    """The registers that a parked stack goes on with."""
    machine = gdb.selected_inferior().architecture().name()
    if machine not in LAYOUTS:
        raise gdb.GdbError("fjord: the stacks of %s are not known" % machine)
    try:
        gdb.parse_and_eval("(long)&fj__switch_entry")
    except gdb.error:
        return {name: word(sp + at) for name, at in UCONTEXT.items()}
    saved, (pc, at), (sp_name, size) = LAYOUTS[machine]
    registers = {name: word(sp + offset) for name, offset in saved.items()}
    registers[pc] = word(sp + at)
    registers[sp_name] = sp + size
    return registers


class Fibre:
    def __init__(self, value):
        self.value = value
        self.address = int(value.address)
        self.name = text(value["name"])

    def state(self):
        if self.value["ended"]:
            return "ended"
        if not self.value["started"]:
            return "new"
        return "parked" if int(self.value["sp"]) != 0 else "running"

    def task(self):
        """The fj_task that it is a part of, or None."""
        try:
            kind = gdb.lookup_type("struct fj_task")
        except gdb.error:
            return None
        offset = next(f.bitpos // 8 for f in kind.fields() if f.name == "fibre")
        if int(self.value["arg"]) + offset != self.address:
            return None
        return self.value["arg"].cast(kind.pointer()).dereference()


def fibres():
    """Those that have a stack, in the order of the slabs."""
    head = gdb.lookup_static_symbol("fj__slabs")
    if head is None:
        raise gdb.GdbError("fjord: no fj__slabs: the library is not loaded, or has no debug information")
    kind = gdb.lookup_type("fj__fibre").pointer()
    found = []
    slab = head.value()
    while int(slab) != 0:
        for i in range(int(slab["carved"])):
            owner = slab["slots"][i]["owner"]
            if int(owner) != 0:
                found.append(Fibre(owner.cast(kind).dereference()))
        slab = slab["next"]
    return found


class Parked(gdb.unwinder.Unwinder):
    """While it is told of a parked stack, that continues from the innermost frame of the thread."""

    def __init__(self):
        super().__init__("fjord")
        self.sp = None

    def __call__(self, frame):
        if self.sp is None or frame.level() != 0:
            return None
        registers = saved_registers(self.sp)
        # This frame's place is given as the parked stack's end: gdb refuses to go to a stack that is lower.
        sp_name = "rsp" if "rsp" in registers else "sp"
        pc_name = "rip" if "rip" in registers else "pc"
        kind = frame.read_register(sp_name).type
        info = frame.create_unwind_info(FrameId(gdb.Value(self.sp).cast(kind), frame.read_register(pc_name)))
        for name, value in registers.items():
            info.add_saved_register(name, gdb.Value(value).cast(frame.read_register(name).type))
        return info

    def backtrace(self, sp):
        selected = gdb.selected_frame()
        self.sp = sp
        gdb.invalidate_cached_frames()
        try:
            lines = gdb.execute("backtrace", to_string=True).splitlines()
        finally:
            self.sp = None
            gdb.invalidate_cached_frames()
            if selected.is_valid():
                selected.select()
        # The first frame is the thread's own.
        first = next((i for i, line in enumerate(lines) if line.startswith("#1 ")), len(lines))
        return [re.sub(r"^#(\d+)( *)", lambda m: "#%-3d" % (int(m.group(1)) - 1), line) for line in lines[first:]]


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


parked = Parked()
gdb.unwinder.register_unwinder(None, parked, replace=True)


class Fjord(gdb.Command):
    """Commands for programs with Fjord: tasks, fibres, bt."""

    def __init__(self):
        super().__init__("fjord", gdb.COMMAND_STACK, prefix=True)


class Fibres(gdb.Command):
    """fjord fibres: the stacks in use, with numbers for `fjord bt`."""

    def __init__(self):
        super().__init__("fjord fibres", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        for n, f in enumerate(fibres()):
            size = (int(f.value["stack"]["size"]) + 1023) & ~1023
            print("%-4d %-8s %7d bytes at 0x%x  %s" % (n, f.state(), size, int(f.value["stack"]["base"]), f.name))


class Tasks(gdb.Command):
    """fjord tasks: the tasks of all loops with at least one that has begun; numbers are those of `fjord bt`."""

    def __init__(self):
        super().__init__("fjord tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        numbers, homes = {}, {}
        for n, f in enumerate(fibres()):
            task = f.task()
            if task is not None:
                numbers[int(task.address)] = n
                homes[int(task["home"])] = task["home"]
        for home in homes.values():
            print("loop 0x%x" % int(home["loop"]))
            task = home["first"]
            while int(task) != 0:
                self.tell(task, numbers.get(int(task)))
                task = task["next"]

    @staticmethod
    def tell(task, number):
        state = str(task["state"]).replace("FJ__TASK_", "").lower()
        waits = "  waits for %s" % text(task["waits_for"]) if int(task["waits_for"]) != 0 else ""
        print("%-4s %-8s %s%s" % ("-" if number is None else number, state, text(task["name"]), waits))


class Backtrace(gdb.Command):
    """fjord bt N|all: the calls on a parked stack."""

    def __init__(self):
        super().__init__("fjord bt", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        known = fibres()
        wanted = range(len(known)) if argument.strip() == "all" else [self.number(argument, known)]
        for n in wanted:
            f = known[n]
            print("%d %s (%s)" % (n, f.name, f.state()))
            if f.state() == "parked":
                print("\n".join(parked.backtrace(int(f.value["sp"]))))
            elif f.state() == "running":
                print("it runs on a thread, or waits for a fibre that it resumed: see `thread apply all bt`")

    @staticmethod
    def number(argument, known):
        try:
            n = int(argument)
        except ValueError:
            n = -1
        if not 0 <= n < len(known):
            raise gdb.GdbError("fjord bt N|all: `fjord fibres` lists the numbers")
        return n


Fjord()
Fibres()
Tasks()
Backtrace()
