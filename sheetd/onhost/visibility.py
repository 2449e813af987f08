"""What a job is told of the accelerators that it was given, as environment variables. Pure.

It sees those and no others, by UUID where the library understands one: an index would be another card's as soon as one
falls off the bus. What keeps a job off other people's accelerators cannot be overruled by a template; what is only
sensible (a port, a number of threads) can.
"""

from typing import Any, Dict, List, Optional

TPU_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1", 8: "2,4,1"}
TPU_PORT, TPU_METRICS_PORT = 8476, 8431

Json = Dict[str, Any]


def binding(given: List[Json], total: int) -> Dict[str, str]:
    """What a template cannot change. `given` has kind, id and index; `total` counts the host's of the kind."""
    env: Dict[str, str] = {}
    for kind, variables in (("nvidia", nvidia), ("amd", amd)):
        mine = [one for one in given if one["kind"] == kind]
        if mine:
            env.update(variables(mine))
    chips = [one for one in given if one["kind"] == "tpu"]
    if chips and len(chips) < total:  # a job that has the whole host needs no words, and libtpu's own lock guards it
        env.update(tpu(chips))
    return env


def nvidia(mine: List[Json]) -> Dict[str, str]:
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(one["id"] for one in mine)}


def amd(mine: List[Json]) -> Dict[str, str]:
    """ROCr takes UUIDs; HIP counts among what ROCr left."""
    names = [one["id"] if one["id"].startswith("GPU-") else str(one["index"]) for one in mine]
    return {"ROCR_VISIBLE_DEVICES": ",".join(names), "HIP_VISIBLE_DEVICES": ",".join(map(str, range(len(mine))))}


def tpu(chips: List[Json]) -> Dict[str, str]:
    indices = sorted(one["index"] for one in chips)
    seen, port = ",".join(map(str, indices)), TPU_PORT + indices[0]
    return {
        "TPU_CHIPS_PER_PROCESS_BOUNDS": TPU_BOUNDS.get(len(chips), "{},1,1".format(len(chips))),
        "TPU_PROCESS_BOUNDS": "1,1,1",
        "TPU_VISIBLE_DEVICES": seen,
        "TPU_VISIBLE_CHIPS": seen,
        "TPU_MESH_CONTROLLER_ADDRESS": "localhost:{}".format(port),
        "TPU_MESH_CONTROLLER_PORT": str(port),
        "TPU_RUNTIME_METRICS_PORTS": ",".join(str(TPU_METRICS_PORT + index) for index in indices),
    }


def sensible(given: List[Json], total: int, cores: int, port: Optional[int]) -> Dict[str, str]:
    """What a template may set otherwise."""
    env: Dict[str, str] = {}
    if port is not None:
        env["MASTER_PORT"] = str(port)
    if given:
        env["OMP_NUM_THREADS"] = str(max(1, cores * len(given) // max(total, len(given))))
    if any(one["kind"] == "tpu" for one in given):
        env["PJRT_DEVICE"] = "TPU"
    return env


def place(given: List[Json], cores: int, port: Optional[int]) -> Json:
    """Both, as `judgement.environment` takes them."""
    total = max([one["total"] for one in given] or [0])
    return {"binding": binding(given, total), "sensible": sensible(given, total, cores, port)}
