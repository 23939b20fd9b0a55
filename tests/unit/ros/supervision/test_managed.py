"""What the supervisor decides, on a process of the test's own making and a clock of its own."""

from __future__ import annotations

import random

import pytest
from managed_world import World

from emo_face.ros.supervision import managed
from emo_face.ros.supervision.channel import Report
from emo_face.ros.supervision.managed import Phase


def phases(world: World) -> list[Phase]:
    return [world.managed.phase(name) for name in world.names]


def test_nodes_are_taken_to_active():
    world = World("camera", "perception")
    world.run(3.0)
    assert phases(world) == [Phase.ACTIVE, Phase.ACTIVE]
    assert len(world.started) == 1


@pytest.mark.parametrize("seconds", [20.0])
def test_a_node_that_beats_is_left_alone(seconds):
    world = World()
    world.run(seconds)
    assert len(world.started) == 1
    assert not world.started[0].killed


def test_a_stopped_node_is_noticed_within_3_s_and_replaced():
    world = World("camera", "perception")
    world.run(5.0)
    world.started[0].stopped = True
    world.run(2.7)
    assert world.started[0].killed
    assert "camera gave no heartbeat for 2.5 s" in world.managed.error
    world.run(3.0)
    assert phases(world) == [Phase.ACTIVE, Phase.ACTIVE]
    assert world.managed.replaced == 1


def test_when_the_supervisor_gets_no_processor_its_nodes_are_not_blamed():
    world = World()
    world.run(5.0)
    for _ in range(5):  # the whole machine stands still for 4 s, five times
        world.now += 4.0
        world.managed.tick(world.now)
        world.run(1.0)
    assert len(world.started) == 1


def test_patience_0_never_replaces():
    world = World()
    world.managed.patience = 0.0
    world.run(5.0)
    world.started[0].stopped = True
    world.run(100.0)
    assert len(world.started) == 1


def test_a_finalized_node_that_lives_on_is_replaced():
    world = World()
    world.run(5.0)
    world.started[0].states["camera"] = "finalized"
    world.run(2.0)
    assert not world.started[0].killed  # it may be ending
    world.run(2.0)
    assert world.started[0].killed
    world.run(4.0)
    assert phases(world) == [Phase.ACTIVE]


def test_one_that_ends_with_0_has_ended():
    world = World()
    world.run(5.0)
    world.started[0].states["camera"] = "finalized"
    world.started[0].code = 0
    world.run(60.0)
    assert phases(world) == [Phase.ENDED]
    assert len(world.started) == 1


def test_what_an_outsider_deactivates_is_activated_after_a_moment():
    world = World()
    world.run(5.0)
    world.started[0].states["camera"] = "inactive"
    world.run(3.8)
    assert phases(world) == [Phase.READY], "an outsider may be about to clean up"
    world.run(2.5)
    assert phases(world) == [Phase.ACTIVE]


def test_after_a_storm_of_random_states_all_are_active():
    rng = random.Random(3)
    world = World("camera", "perception", "expression")
    world.run(5.0)
    for _ in range(150):
        states = world.started[-1].states
        states[rng.choice(world.names)] = rng.choice(["unconfigured", "inactive", "active", "finalized"])
        world.run(rng.uniform(0.1, 0.6))
    assert not world.managed.failed
    world.run(20.0)
    assert set(phases(world)) == {Phase.ACTIVE}


def test_a_request_that_came_at_the_wrong_moment_is_repeated():
    world = World()
    world.run(0.6)
    world.started[0].asked.clear()  # it came while the node was elsewhere
    world.run(10.0)
    assert phases(world) == [Phase.ACTIVE]


def test_what_is_not_there_yet_is_waited_for_as_long_as_it_takes():
    world = World()
    world.failing = {"configure": ("unavailable", "webcam 0: cannot be opened")}
    world.run(300.0)
    assert phases(world) == [Phase.WAITING]
    assert world.managed.trouble("camera") == "webcam 0: cannot be opened"
    assert world.managed.in_nobodys_way
    world.failing = {}
    world.run(15.0)
    assert phases(world) == [Phase.ACTIVE]
    assert len(world.started) == 1


def test_a_users_mistake_is_given_up_at_once_with_its_reason():
    world = World()
    world.failing = {"configure": ("refused", "screen.theme 'nope' is unknown")}
    world.run(3.0)
    assert phases(world) == [Phase.FAILED]
    assert world.managed.error == "screen.theme 'nope' is unknown"


def test_a_fault_is_tried_again_with_growing_pauses_and_given_up():
    world = World()
    world.failing = {"activate": ("error", "ValueError: x")}
    world.run(30.0)
    assert not world.managed.failed
    world.run(120.0)
    assert world.managed.failed


def test_wrong_arguments_are_not_tried_again():
    world = World()
    world.run(0.1)
    world.started[0].code = managed.WRONG_ARGUMENTS
    world.run(10.0)
    assert phases(world) == [Phase.FAILED]
    assert len(world.started) == 1


def test_a_crash_loop_is_given_up():
    world = World()
    for _ in range(1000):
        if world.started and world.started[-1].code is None:
            world.started[-1].code = 1
        world.run(0.1)
    assert phases(world) == [Phase.FAILED]
    assert "exited with code 1, 9 times in a row" in world.managed.error


def configuring(cpu_rate: float, words: bool) -> World:
    """A node that stays in configuring."""
    world = World()
    world.run(0.6)
    process = world.started[0]
    process.live = lambda now: None
    process.box.append(Report("camera", "configuring"))
    for _ in range(200):
        process.cpu += cpu_rate
        if words:
            process.box.append(Report("camera", "configuring", trouble="building engine"))
        world.run(1.0)
    return world


def test_configuring_may_take_long_while_it_works_or_says_what_it_does():
    assert len(configuring(0.5, words=False).started) == 1
    told = configuring(0.0, words=True)
    assert len(told.started) == 1
    assert told.managed.trouble("camera") == "building engine"


def test_configuring_without_a_sign_of_work_is_over_after_its_time():
    world = configuring(0.0, words=False)
    assert world.started[0].killed
    assert world.managed.replaced >= 1


def test_without_autostart_nothing_is_asked():
    world = World()
    world.managed.autostart = False
    world.run(10.0)
    assert world.started[0].states == {"camera": "unconfigured"}


def test_nodes_of_one_process_become_active_in_their_order():
    world = World("perception", "camera")
    seen: list[tuple[Phase, ...]] = []
    for _ in range(40):
        world.run(0.1)
        seen.append(tuple(phases(world)))
    assert seen[-1] == (Phase.ACTIVE, Phase.ACTIVE)
    assert (Phase.READY, Phase.ACTIVE) not in seen


def test_a_node_that_has_ended_leaves_the_others_of_its_process_alone():
    world = World("perception", "camera")
    world.run(5.0)
    del world.started[0].states["camera"]  # no beat any more
    world.started[0].box.append(Report("camera", "ended"))
    world.run(30.0)
    assert phases(world) == [Phase.ACTIVE, Phase.ENDED]
    assert len(world.started) == 1


def test_a_film_that_has_ended_does_not_run_again_when_its_process_is_replaced():
    world = World("perception", "camera")
    world.run(5.0)
    world.started[0].box.append(Report("camera", "ended"))
    world.run(0.1)
    world.started[0].stopped = True
    world.run(10.0)
    assert world.started[0].killed
    assert phases(world) == [Phase.ACTIVE, Phase.ENDED]
    assert world.started[-1].states["camera"] == "unconfigured"


def test_a_node_is_not_blamed_for_silence_while_another_of_its_process_loads():
    world = World("perception", "camera")
    world.run(5.0)
    process = world.started[0]
    process.box.append(Report("perception", "configuring"))  # and holds the interpreter
    process.stopped = True
    for _ in range(100):
        process.cpu += 0.1
        world.run(0.1)
    assert not process.killed
