"""How the programs of PyTorch's side time a step: the protocol of bench/compare.py. A line {"ready": ..} after warming up, one line per
round, a summary at the end. With --wait, each round waits for a line on standard input and the end of input ends the run.
"""

import json
import os
import resource
import statistics
import sys
import time

import torch


def busy_seconds():
    """Processor time of the whole machine, stolen time included, less this process's own."""
    with open("/proc/stat") as f:
        ticks = [int(word) for word in f.readline().split()[1:9]]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    busy = sum(ticks) - ticks[3] - ticks[4]
    return busy / os.sysconf("SC_CLK_TCK") - usage.ru_utime - usage.ru_stime


def peak_memory(args):
    if args.device == "cuda":
        available, total = torch.cuda.mem_get_info()
        return total - available
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def wait_for(args):
    if args.device == "cuda":
        torch.cuda.synchronize()


def timed_round(step, args):
    count = args.steps
    wait_for(args)
    others, start, processor = busy_seconds(), time.perf_counter(), time.process_time()
    for _ in range(count):
        step()
    wait_for(args)
    seconds = time.perf_counter() - start
    return {"seconds_per_step": seconds / count, "others_cores": max(0.0, busy_seconds() - others) / seconds,
            "processor_seconds_per_step": (time.process_time() - processor) / args.threads / count}


def tell(line):
    print(json.dumps(line), flush=True)


def add_options(parser):
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--warmup", type=int, default=2, help="steps before the first round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="steps in a round")
    parser.add_argument("--wait", action="store_true", help="each round waits for a line on standard input")


def measure(step, args, samples):
    """Of a step that works on so many samples."""
    first = None
    for _ in range(args.warmup):
        step()
        first = first or time.monotonic()
    tell({"ready": True, "first_step_at": first})
    rounds = []
    while sys.stdin.readline() if args.wait else len(rounds) < args.rounds:
        rounds.append(timed_round(step, args))
        tell(rounds[-1])
    seconds = statistics.median(r["seconds_per_step"] for r in rounds) if rounds else None
    tell({"side": "pytorch", "version": torch.__version__, "variant": args.variant, "rounds": rounds,
          "seconds_per_step": seconds, "samples_per_second": rounds and samples / seconds,
          "peak_memory_bytes": peak_memory(args)})
