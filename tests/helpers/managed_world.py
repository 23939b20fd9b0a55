"""A process of supervised nodes that is none: a clock, reports and obedience."""

from __future__ import annotations

from emo_face.ros.supervision.channel import PERIOD, Report
from emo_face.ros.supervision.managed import ManagedProcess

NEXT = {"configure": ("unconfigured", "inactive"), "activate": ("inactive", "active")}


class World:
    """Processes whose nodes obey like rclpy's: only transitions that fit; everything takes its time."""

    def __init__(self, *names: str) -> None:
        self.now, self.started, self.failing = 0.0, [], {}
        self.names = names or ("camera",)
        self.managed = ManagedProcess(self.names, self.start)

    def start(self) -> Fake:
        self.started.append(Fake(self))
        return self.started[-1]

    def run(self, seconds: float, step: float = 0.1) -> None:
        for _ in range(round(seconds / step)):
            self.now += step
            if self.started:
                self.started[-1].live(self.now)
            self.managed.tick(self.now)


class Fake:
    def __init__(self, world: World) -> None:
        self.world, self.code, self.killed, self.stopped, self.cpu = world, None, False, False, 0.0
        self.states = dict.fromkeys(world.names, "unconfigured")
        self.box, self.asked, self.beat = [], [], world.now

    def live(self, now: float) -> None:
        if self.stopped or self.code is not None or now - self.beat < PERIOD:
            return
        self.beat = now
        for node, transition in self.asked:
            self.obey(node, transition)
        self.asked.clear()
        self.box += [Report(name, state) for name, state in self.states.items()]

    def obey(self, node: str, transition: str) -> None:
        before, after = NEXT[transition]
        if self.states[node] != before:
            return
        kind, why = self.world.failing.get(transition, ("", ""))
        self.box.append(Report(node, f"{transition[:-1]}ing"))
        self.states[node] = before if kind else after
        self.box.append(Report(node, self.states[node], kind, why))

    def exit_code(self):
        return self.code

    def cpu_seconds(self):
        return self.cpu

    def kill(self):
        self.killed = True

    def ask(self, node, transition):
        self.asked.append((node, transition))
        return True

    def reports(self):
        heard, self.box = self.box, []
        return heard
