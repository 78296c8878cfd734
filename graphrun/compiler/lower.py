"""Last pass: from a placed program to a `Plan`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from graphrun.compiler.blocks import BLOCKS
from graphrun.compiler.codegen.rows import overwrites
from graphrun.compiler.cost import host_ns
from graphrun.compiler.epilogue import EPILOGUE, Epilogue
from graphrun.compiler.fusion import FUSED
from graphrun.compiler.homes import copies, find_homes, parts_of, placed, quick_join
from graphrun.compiler.ir import CONST, COPY, FEED, RESIDENT, STATE, Node, Program, StateKey, Value
from graphrun.compiler.launch import (
    KernelCache,
    KernelLaunch,
    PackLaunches,
    epilogue_launches,
    epilogue_plan,
    fused_launch,
    node_launches,
    program_source,
    rows_launches,
)
from graphrun.compiler.loops import LOOP
from graphrun.compiler.memory import assign_buffers, host_peak_bytes
from graphrun.compiler.packs import count_readers, lasting
from graphrun.compiler.placement import Target
from graphrun.compiler.plan import Plan
from graphrun.compiler.rows import ROWS
from graphrun.compiler.schedule import PURE_INPUTS, may_fail, schedule, without_conflicts
from graphrun.compiler.steps import (
    BindStep,
    BufferInfo,
    CopyStep,
    DownloadStep,
    HostStep,
    KeepStep,
    LaunchStep,
    Origin,
    Place,
    UploadStep,
    size_bytes,
)
from graphrun.compiler.views import only_renames, view_map
from graphrun.device_names import NUMPY, runs_kernels
from graphrun.graph.descriptor import AffineMap, Kernel, Spec
from graphrun.shapes import num_elements

# Fed arrays of this size and more are read in place: below, a copy costs less than telling the kernels.
IN_PLACE_BYTES = 32768


def lower(program: Program, target: Target, stay: bool = False, ordered: bool = False) -> Plan:
    """Run the pass; with `stay`, fetched values are left on the device that computes them.

    With `ordered`, nodes run as they stand, in any order in which inputs come first.
    """
    return _Lowering(program, target, stay, ordered).run()


class _Lowering:
    """Steps are made with `Place.buffer` holding a key; numbers replace the keys once lives are known."""

    def __init__(self, program: Program, target: Target, stay: bool, ordered: bool) -> None:
        self.program, self.target = program, target
        self.order = program.nodes if ordered else schedule(program)
        self.plan = Plan()
        self.registers: dict[Value, int] = {}
        self.register_specs: list[Spec] = []
        self.residents: dict[Value, int] = {}  # registers of fed device arrays
        self.places: dict[tuple[Value, str], Place] = {}
        self.aliases: dict[Node, bool] = {}
        self.texts: dict[str, dict[str, str]] = {}  # of each device, by the kernel's name
        self.kernels: dict[str, KernelCache] = {}
        self.scratch = 0
        self.packs: dict[Any, Place] = {}
        self.host_ahead = 0  # host steps that are still to come
        self.slot_bytes: dict[Any, int] = {}
        self.device_of: dict[Any, str] = {}
        self.fixed: dict[Any, BufferInfo] = {}  # keys that are states or constants
        self.update_of: dict[Value, list[StateKey]] = {}
        for key, value in program.updates.items():
            self.update_of.setdefault(value, []).append(key)
        self.readers = count_readers(program, self.root)
        # How often each value is still read, views counted as their source.
        self.uses: dict[Value, int] = {}
        for node in program.nodes:
            if not self._is_alias(node):
                for v in node.inputs:
                    self.uses[self.root(v)] = self.uses.get(self.root(v), 0) + 1
        for v in program.outputs():
            self.uses[self.root(v)] = self.uses.get(self.root(v), 0) + 1
        self.homes = find_homes(program, self.root, self.uses, self._in_pieces)
        self.joined = {home.joined for home in self.homes.values()}
        # Values whose buffer becomes the caller's.
        self.staying: set[Value] = set()
        if stay:
            self.staying = {self.root(v) for v in program.fetches if v and self._may_stay(self.root(v))}
        self.stay = stay
        self.kept: set[Any] = set()  # keys of buffers that are given away already
        # What lies in the buffer of a value; only the last reader of all may write over it.
        self.tenants: dict[Any, list[Value]] = {}

    # -- values -------------------------------------------------------------------------------

    def _is_alias(self, node: Node) -> bool:
        known = self.aliases.get(node)
        if known is None:
            known = self.aliases[node] = only_renames(node)
        return known

    def root(self, value: Value) -> Value:
        while self._is_alias(value[0]):
            value = value[0].inputs[0]
        return value

    def _in_pieces(self, value: Value, m: AffineMap) -> bool:
        """Whether an epilogue can write a result in pieces: rows of the kernel's result are whole there.

        Partial sums lie where the first result goes, one behind the other.
        """
        node, j = value
        e: Epilogue = node.attrs["epilogue"]
        rows_whole = bool(e.spec.dims) and m.dims[-1] % e.spec.dims[-1] == 0
        if j or not rows_whole:
            return rows_whole
        capabilities = self.target.capabilities[node.device]
        return not epilogue_plan(node, capabilities, self.readers.get(node, ())).partial

    def _may_stay(self, value: Value) -> bool:
        """Whether a value is computed on a device, by itself."""
        node = value[0]
        computed = node.op not in PURE_INPUTS and runs_kernels(node.device)
        return computed and node not in self.joined and value not in self.homes

    def origin(self, node: Node) -> Origin:
        # A fused group is known to the user by its last operation.
        if node.op is BLOCKS:
            return Origin(node.attrs["group"].label, node.name, node.site)
        op = node.origin.opdef if node.op in (FUSED, ROWS, EPILOGUE) and node.origin is not None else node.op
        return Origin(op.name, node.name, node.site)

    def new_register(self, spec: Spec) -> int:
        self.register_specs.append(spec)
        return len(self.register_specs) - 1

    def register(self, value: Value) -> int:
        """The register of a host value; constants and states are brought there when first asked for."""
        if value not in self.registers:
            node, i = value
            r = self.registers[value] = self.new_register(node.specs[i])
            if node.op is CONST:
                self.plan.constants.append((r, node.attrs["value"].array))
            elif node.op is STATE:
                self.plan.host_states.append((r, node.attrs["key"]))
            else:
                device = node.attrs[RESIDENT] if node.op is FEED else node.device
                place = self.place(value, device)
                self.plan.steps.append(DownloadStep(device, place, r, self.origin(node)))
        return self.registers[value]

    def place(self, value: Value, device: str) -> Place:
        """Where a value lies on `device`."""
        found = self.places.get((value, device))
        if found is not None:
            return found
        node, i = value
        spec = node.specs[i]
        if node.op is CONST:
            array = node.attrs["value"].array
            key: Any = ("const", id(array), device)
            self.fixed[key] = BufferInfo(device, "constant", size_bytes(spec), array=array)
            found = Place(key, 0, spec)
        elif node.op is STATE:
            found = self.state_place(node.attrs["key"], spec, device)
        elif node.op is FEED:
            key = ("value", value, device)
            if node.attrs.get(RESIDENT) == device:
                self.fixed[key] = BufferInfo(device, "feed", size_bytes(spec))
                found = Place(key, 0, spec)
                step = BindStep(device, self.residents[value], found, self.origin(node))
                self.plan.steps.append(step)
                self.places[(value, device)] = found
                return found
            r = self.register(value)
            if self._stays_in_place(spec, device):
                self.fixed[key] = BufferInfo(device, "feed", size_bytes(spec))
                found = Place(key, 0, spec)
            else:
                found = self.new_place(key, spec, device)
            self.plan.steps.append(UploadStep(device, r, found, self.origin(node)))
        elif self._is_alias(node):
            m = view_map(node, i)
            source = self.place(node.inputs[0], device)
            found = Place(source.buffer, source.offset + m.offset, spec)  # type: ignore[union-attr]
        else:
            raise AssertionError(f"{node} has not been lowered")
        self.places[(value, device)] = found
        return found

    def _stays_in_place(self, spec: Spec, device: str) -> bool:
        """Whether a fed array is read where it lies; its place is no slot then, which could be written."""
        capabilities = self.target.capabilities[device]
        return capabilities.zero_copy and size_bytes(spec) >= IN_PLACE_BYTES

    def new_place(self, key: Any, spec: Spec, device: str) -> Place:
        self.slot_bytes[key] = size_bytes(spec)
        self.device_of[key] = device
        return Place(key, 0, spec)

    def state_place(self, key: StateKey, spec: Spec, device: str) -> Place:
        buffer: Any = ("state", key, device)
        self.fixed[buffer] = BufferInfo(device, "state", size_bytes(spec), state=key)
        return Place(buffer, 0, spec)

    # -- steps --------------------------------------------------------------------------------

    def run(self) -> Plan:
        plan, program = self.plan, self.program
        for _, node in program.feeds:
            r = self.new_register(node.specs[0])
            plan.feeds.append((r, node.specs[0]))
            plan.labels[r] = node.name
            (self.residents if RESIDENT in node.attrs else self.registers)[node, 0] = r
        self.host_ahead = sum(may_fail(node) for node in self.order)
        for node in self.order:
            self.host_ahead -= may_fail(node)
            if node.op in PURE_INPUTS or self._is_alias(node):
                continue
            if node.op is COPY:
                self._copy(node)
            elif runs_kernels(node.device):
                self._launches(node)
            else:
                self._host(node)
        plan.fetches = [None if v is None else self._fetched(v) for v in program.fetches]
        for register, v in zip(plan.fetches, program.fetches, strict=True):
            if register is not None and v is not None:
                plan.labels.setdefault(register, v[0].name)
        self._updates()
        plan.read_states = list(program.states)
        plan.state_specs = {k: n.specs[0] for k, n in program.states.items()}
        plan.state_specs.update(
            {k: v[0].specs[v[1]] for k, v in program.updates.items() if k not in program.states}
        )
        assign_buffers(plan, self.slot_bytes, self.device_of, self.fixed)
        plan.host_peak_bytes = host_peak_bytes(plan, self.register_specs)
        for device, texts in self.texts.items():
            plan.kernels[device] = texts
            plan.sources[device] = program_source(list(texts.values()), self.target.capabilities[device])
        return plan

    def _fetched(self, value: Value) -> int:
        """The register of a fetched value: of the value itself, or of a device array."""
        source = self.root(value)
        node = source[0]
        device = node.attrs.get(RESIDENT, node.device)
        if node.op is STATE:
            device = self._home(node)
        if not self.stay or not runs_kernels(device) or node.op is CONST:
            return self.fetch(value)
        spec = value[0].specs[value[1]]
        r = self.new_register(spec)
        place = self.place(value, device)
        own: Any = ("result", source)
        whole = size_bytes(spec) == size_bytes(node.specs[source[1]])
        if place.buffer != own or place.buffer in self.kept or not whole:
            target = self._result_place(("result", value, r), spec, device)
            self.plan.steps.append(CopyStep(device, place, target, self.origin(node)))
            place = target
        self.kept.add(place.buffer)
        self.plan.steps.append(KeepStep(device, place, r, self.origin(node)))
        return r

    def _result_place(self, key: Any, spec: Spec, device: str) -> Place:
        self.fixed[key] = BufferInfo(device, "result", size_bytes(spec))
        return Place(key, 0, spec)

    def fetch(self, value: Value) -> int:
        """The register of a value on the host, on whichever device it is."""
        if value in self.registers or value[0].op in PURE_INPUTS:
            return self.register(value)
        node = value[0]
        r = self.registers[value] = self.new_register(node.specs[value[1]])
        place = self.place(value, node.device)
        self.plan.steps.append(DownloadStep(node.device, place, r, self.origin(node)))
        return r

    def _use(self, node: Node) -> None:
        for v in node.inputs:
            self.uses[self.root(v)] -= 1

    def _host(self, node: Node) -> None:
        inputs = tuple(self.register(v) for v in node.inputs)
        outputs = []
        for i, spec in enumerate(node.specs):
            r = self.registers[(node, i)] = self.new_register(spec)
            outputs.append(r)
        self._use(node)
        function: Any = node.op.numpy
        attrs = node.attrs
        inner: tuple[tuple[str, Any], ...] = ()
        if node.op is LOOP:
            assert self.target.loops is not None, "nobody can run loops"
            function, inner = self.target.loops(node, self.target)
            attrs = {}
        if node.op is BLOCKS and self.target.blocks is not None:
            function, attrs = self.target.blocks(node.attrs["group"]), {}
        assert function is not None, f"{node.op.name} should have been replaced"
        if rewrites := self._rewrites_its_state(node):
            rewrite: Any = node.op.rewrite
            function, inputs = functools.partial(rewrite, node.input_specs[0]), inputs[1:]
        self.plan.host_ns += host_ns(node) + sum(p.host_ns for _, p in inner)
        about = self.origin(node), node.specs, node.note, inner, rewrites
        self.plan.steps.append(HostStep(function, inputs, tuple(outputs), attrs, *about))

    def _rewrites_its_state(self, node: Node) -> bool:
        """Whether a host node makes the new value of the state that it reads, and nobody else reads it.

        The result is then what writes it, which the run does when nothing can fail any more.
        """
        keys = self.update_of.get((node, 0), [])
        if node.op.rewrite is None or len(keys) != 1 or node.input_specs[0] != node.specs[0]:
            return False
        source, kept = node.inputs[0][0], self.program.kept.count((node, 0))
        return source is self.program.states.get(keys[0]) and self.uses[(node, 0)] == 1 + kept

    def _copy(self, node: Node) -> None:
        value, spec = node.inputs[0], node.specs[0]
        source = value[0].device
        self._use(node)
        if runs_kernels(source):
            self.place(value, source)
            r = self.registers.get(value)
            if r is None:
                r = self.registers[value] = self.new_register(spec)
                step = DownloadStep(source, self.places[(value, source)], r, self.origin(node))
                self.plan.steps.append(step)
        else:
            r = self.register(value)
        if node.device == NUMPY:
            self.registers[(node, 0)] = r
        else:
            place = self.new_place(("value", (node, 0), node.device), spec, node.device)
            self.places[((node, 0), node.device)] = place
            self.plan.steps.append(UploadStep(node.device, r, place, self.origin(node)))

    def _launches(self, node: Node) -> None:
        device = node.device
        capabilities = self.target.capabilities[device]
        cache = self.kernels.setdefault(device, KernelCache())
        in_places = [self.place(v, device) for v in node.inputs]
        self._use(node)
        out_places: list[Place] = []
        launches: list[KernelLaunch] = []
        scratch_bytes: tuple[int, ...] = ()
        packs: list[PackLaunches] = []
        if node in self.joined or (quick_join(node) and self._update_target((node, 0)) is None):
            if ((node, 0), device) not in self.places:
                self.places[(node, 0), device] = self.new_value_place((node, 0))
            self._join(node)
            return
        if node.op is FUSED:
            group = placed(node.attrs["group"], node, self.homes)
            maps = group.maps
            in_place, out_places = self._shared_places(node, in_places, lambda k, j: maps[k] is None)
            launches = [fused_launch(node, group, capabilities, in_place, cache)]
        elif node.op is ROWS:
            group = node.attrs["group"]
            in_place, out_places = self._shared_places(node, in_places, overwrites(group))
            launches, scratch_bytes = rows_launches(node, group, capabilities, in_place, cache)
        elif node.op is EPILOGUE:
            e: Epilogue = node.attrs["epilogue"]
            kernels = epilogue_plan(node, capabilities, self.readers.get(node, ()))
            _, out_places = self._shared_places(
                node, in_places, lambda k, j: e.may_share(k, j, kernels.partial)
            )
            group = placed(e.group, node, self.homes)
            launches, scratch_bytes, packs = epilogue_launches(node, group, kernels, cache)
        else:
            overwritten = self._overwritten(node, in_places)
            for i in range(len(node.specs)):
                target = self._update_target((node, i)) if len(node.specs) == 1 else None
                if i == 0 and overwritten is not None:
                    out_places.append(overwritten)
                    continue
                # These kernels may write one element before they have read another.
                if target is None or any(p.buffer == target.buffer for p in in_places):
                    target = self.new_value_place((node, i))
                out_places.append(target)
            if view_map(node, 0) is None:  # else there is nothing to move: a view of no elements
                readers = self.readers.get(node, ())
                launches, scratch_bytes, packs = node_launches(node, capabilities, cache, readers)
        for i, place in enumerate(out_places):
            self.places[((node, i), device)] = place
        scratch = []
        for count in scratch_bytes:
            self.scratch += 1
            key: Any = ("scratch", self.scratch)
            self.slot_bytes[key] = count
            self.device_of[key] = device
            scratch.append(Place(key, 0, node.specs[0]))
        packed = [self._packed(node, pack, in_places) for pack in packs]
        self._emit(node, launches, in_places, out_places, scratch, packed)

    def new_value_place(self, value: Value) -> Place:
        """Where a value that is about to be computed goes: within a joined one, or to a place of its own."""
        node, i = value
        home = self.homes.get(value)
        if value in self.staying:
            return self._result_place(("result", value), node.specs[i], node.device)
        if home is None:
            return self.new_place(("value", value, node.device), node.specs[i], node.device)
        joined = (home.joined, 0)
        around = self.places.get((joined, node.device))
        if around is None:
            around = self.places[(joined, node.device)] = self.new_value_place(joined)
        self.tenants.setdefault(around.buffer, [joined]).append(value)
        return Place(around.buffer, around.offset + home.offset, node.specs[i])

    def _in_one_place(self, value: Value, place: Place) -> list[Value]:
        """What is lost where the place of a value is written over."""
        return [*self.tenants.get(place.buffer, ()), self.root(value)]

    def _join(self, node: Node) -> None:
        """Copy what has not been computed in its place."""
        device = node.device
        around = self.places[(node, 0), device]
        cache, capabilities = self.kernels[device], self.target.capabilities[device]
        left = []
        for part in parts_of(node):
            home = self.homes.get(self.root(node.inputs[part.index]))
            if home is None or (home.joined, home.offset, home.map) != (node, part.offset, part.map):
                left.append(part)
        for group, values, parts in copies(node, left):
            outs = [Place(around.buffer, around.offset + p.offset, node.input_specs[p.index]) for p in parts]
            single = Node(FUSED, values, {}, [p.spec for p in outs], node.origin, device)
            launch = fused_launch(single, group, capabilities, {}, cache)
            self._emit(node, [launch], [self.place(v, device) for v in values], outs, [])

    def _packed(self, node: Node, pack: PackLaunches, ins: list[Place]) -> Place:
        """Where a pack lies, which is made when it is first asked for."""
        source = self.root(node.inputs[pack.source])
        key = ("pack", source, ins[pack.source].offset, pack.key, node.device)
        found = self.packs.get(key)
        if found is None:
            once = lasting(source[0], self.program)
            found = self.packs[key] = Place(key, 0, ins[pack.source].spec)  # type: ignore[arg-type]
            if once is not None:
                self.fixed[key] = BufferInfo(node.device, "packed", pack.size_bytes)
            else:
                self.slot_bytes[key] = pack.size_bytes
                self.device_of[key] = node.device
            # Whichever pack of the node it is, its launches write to one place.
            self._emit(node, pack.launches, ins, [], [], [found] * (1 + pack.number), once)
        return found

    def _emit(
        self, node: Node, launches: list[KernelLaunch], ins: list[Place], outs: list[Place],
        scratch: list[Place], packs: Sequence[Place] = (), once: Any = None,
    ) -> None:  # fmt: skip
        if outs and not any(num_elements(p.spec.shape) for p in outs):
            return  # nothing to write
        lent = {p.buffer for p in ins}  # an output that lies in one of these is written over it
        where = {"in": ins, "out": outs, "scratch": scratch, "pack": packs}
        for launch in launches:
            args: list[tuple[str, Any]] = []
            roles = []
            moved = dict.fromkeys(where, 0)
            for kind, value in launch.args:
                place = where[kind][value] if kind in where else None
                args.append((kind, value) if place is None else ("buffer", place))
                over = place is not None and kind == "out" and place.buffer in lent
                roles.append("inout" if over else kind)
                if place is not None:
                    moved[kind] += place.size_bytes
            self.texts.setdefault(node.device, {})[launch.name] = launch.text
            self.plan.steps.append(
                LaunchStep(
                    node.device, launch.name, tuple(args), launch.global_size, launch.local_size,
                    self.origin(node), launch.label, moved["in"], moved["out"], launch.flops,
                    tuple(roles), once,
                )
            )  # fmt: skip

    def _shared_places(
        self, node: Node, ins: list[Place], may_share: Callable[[int, int], bool]
    ) -> tuple[dict[int, int], list[Place]]:
        """Where a generated kernel writes: over what nobody reads any more, else to new places.

        `may_share` tells whether an input and an output may lie in one place: the kernel then reads each
        element of the input before it writes that of the output, and never again.  Returns which inputs lie
        where which outputs go, and the place of each output.
        """
        in_place: dict[int, int] = {}
        outs: list[Place] = []

        def usable(k: int, j: int) -> bool:
            free = k not in in_place and ins[k].offset == 0 and ins[k].spec.dtype is node.specs[j].dtype
            return free and may_share(k, j)

        def read_otherwise(buffer: Any, j: int) -> bool:
            readers = [k for k, p in enumerate(ins) if p.buffer == buffer]
            return len(readers) > 1 or any(ins[k].offset or not may_share(k, j) for k in readers)

        for j, spec in enumerate(node.specs):
            if (node, j) in self.homes or (node, j) in self.staying:
                outs.append(self.new_value_place((node, j)))
                continue
            candidates = [k for k in range(len(ins)) if usable(k, j)]
            target = self._update_target((node, j))
            if target is not None and not read_otherwise(target.buffer, j):
                match = [k for k in candidates if ins[k].buffer == target.buffer]
                if match or all(p.buffer != target.buffer for p in ins):
                    in_place.update(dict.fromkeys(match, j))
                    outs.append(target)
                    continue
            for k in candidates:
                p = ins[k]
                whole = self.slot_bytes.get(p.buffer) == p.size_bytes
                unread = not any(self.uses.get(v) for v in self._in_one_place(node.inputs[k], p))
                if whole and unread and not read_otherwise(p.buffer, j):
                    in_place[k] = j
                    outs.append(Place(p.buffer, 0, spec))
                    break
            else:
                outs.append(self.new_value_place((node, j)))
        return in_place, outs

    def _overwritten(self, node: Node, ins: list[Place]) -> Place | None:
        """Where output 0 of a kernel that overwrites an input goes: that lies there, or is copied there."""
        descriptor = node.op.descriptor(node.input_specs, node.attrs)
        if not isinstance(descriptor, Kernel) or descriptor.overwrites is None:
            return None
        k = descriptor.overwrites
        source, value = ins[k], node.inputs[k]
        others = [p.buffer for j, p in enumerate(ins) if j != k]
        target = self._update_target((node, 0))
        if source.buffer not in others and source.offset == 0:
            if target is not None and target.buffer == source.buffer:
                return target
            whole = self.slot_bytes.get(source.buffer) == source.size_bytes
            if whole and not any(self.uses.get(v) for v in self._in_one_place(value, source)):
                return Place(source.buffer, 0, node.specs[0])
        if target is None or target.buffer in (source.buffer, *others):
            target = self.new_value_place((node, 0))
        if source.size_bytes:
            self.plan.steps.append(CopyStep(node.device, source, target, self.origin(node)))
        return target

    def _update_target(self, value: Value) -> Place | None:
        """The buffer of the state that `value` is the new value of, if the old one is done with."""
        # A step that raises later must find every variable as it was.
        keys = [] if self.host_ahead else self.update_of.get(value, [])
        node, i = value
        for key in keys[:1]:
            state = self.program.states.get(key)
            same = state is None or state.specs[0] == node.specs[i]
            if same and not (state is not None and self.uses.get((state, 0), 0)):
                return self.state_place(key, node.specs[i], node.device)
        return None

    def _home(self, node: Node) -> str:
        """The device that a new value of a state is on; one variable's value for another needs no host."""
        default = self.target.default
        if node.op is STATE and runs_kernels(default) and self.target.capabilities[default] is not None:
            return default
        return node.device

    def _updates(self) -> None:
        plan = self.plan
        final: list[CopyStep] = []
        for key, value in self.program.updates.items():
            node, i = value
            spec = node.specs[i]
            state = self.program.states.get(key)
            fits = state is None or state.specs[0] == spec
            device = self._home(node)
            if not runs_kernels(device) or not fits:
                # A state that changes its shape passes through the host, where arrays have any size.
                plan.host_updates.append((key, self.fetch(value)))
                continue
            place = self.place(value, device)
            target = self.state_place(key, spec, device)
            if place.buffer != target.buffer:
                final.append(CopyStep(device, place, target, self.origin(node)))
            plan.device_updates.append((key, device))
        plan.steps += without_conflicts(final, self._saved)

    def _saved(self, source: Place, device: str) -> Place:
        """A place for a copy of `source`."""
        self.scratch += 1
        key = ("scratch", self.scratch)
        self.slot_bytes[key] = source.size_bytes
        self.device_of[key] = device
        return Place(key, 0, source.spec)  # type: ignore[arg-type]
