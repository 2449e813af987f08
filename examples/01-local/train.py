"""Gradient descent on a toy problem: a line through noisy points, in plain Python.

Everything a long training does is here in small: it reports a loss, saves checkpoints, goes on from the newest one
after a crash, and saves once more when it is told to stop. Runs by hand as well: `python3 train.py --lr=0.1`.
"""

import argparse
import json
import random
import signal
import sys
import time

import sheetd

SAVE_EVERY = 10


def main() -> None:
    options = parse_options()
    random.seed(options.seed)
    points = [(x, 2.0 * x + 1.0 + random.gauss(0.0, 0.1)) for x in (random.uniform(-2.0, 2.0) for _ in range(200))]
    state = {"step": 0, "slope": 0.0, "offset": 0.0}
    checkpoint = sheetd.resume_from()
    if checkpoint is not None:
        state = json.loads(checkpoint.read_text())
        print("going on from {} at step {}".format(checkpoint.name, state["step"]))

    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    while state["step"] < options.steps and not stop:
        loss = descend(points, state, options.lr)
        step = state["step"]
        sheetd.log(step, loss=loss, total_steps=options.steps)
        if step % SAVE_EVERY == 1:
            save(state)
            print(f"step {step} loss {loss:.4g}", flush=True)
        if options.fail:
            raise RuntimeError(f"failed on purpose at step {step}")
        if step == options.crash_at_step and checkpoint is None:
            raise RuntimeError(f"crashed on purpose at step {step}, once")
        if loss > 1e6:
            sys.exit(f"the loss diverged at step {step}: try a smaller lr than {options.lr:g}")
        time.sleep(options.seconds_per_step)
    save(state)
    if stop and state["step"] < options.steps:
        sys.exit(128 + signal.SIGTERM)
    print("y = {slope:.3f} x + {offset:.3f}".format(**state))


def descend(points: list, state: dict, lr: float) -> float:
    """One step downhill. Returns the mean squared error before it."""
    errors = [(x, state["slope"] * x + state["offset"] - y) for x, y in points]
    state["slope"] -= lr * 2.0 * sum(x * error for x, error in errors) / len(points)
    state["offset"] -= lr * 2.0 * sum(error for _, error in errors) / len(points)
    state["step"] += 1
    return sum(error * error for _, error in errors) / len(points)


def save(state: dict) -> None:
    """Whole or not at all, whatever dies meanwhile."""
    sheetd.save_checkpoint("step_{:06d}.json".format(state["step"]), json.dumps(state).encode())


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fit a line by gradient descent.")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate; from about 0.7 on the loss grows")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds-per-step", type=float, default=0.1, help="a step of a real training takes a while")
    parser.add_argument("--crash-at-step", type=int, default=0, help="crash there, once; 0 is never, -1 is always")
    parser.add_argument("--fail", action="store_true", help="crash at every start, to see what sheetd makes of it")
    options = parser.parse_args()
    options.fail = options.fail or options.crash_at_step < 0
    return options


if __name__ == "__main__":
    main()
