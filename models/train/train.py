"""Trains the default model from scratch on CIFAR-10. `--preset full` for a GPU, `--preset cpu` for two cores and 90 minutes."""

import argparse
import copy
import json
import math
import os
import pathlib
import platform
import time
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F

import data
import fused
import optimiser
from model import network
from start_from import architecture_in, start_from

PRESETS = {
    # Ends by the clock: every schedule below follows the share of the time that is spent.
    "cpu": {"minutes": 90.0, "epochs": None, "batch": 256, "lr": 0.2, "muon_lr": 0.07, "sides": [(0.4, 24), (0.7, 28), (1.0, 32)]},
    # Ends by the count of epochs, so that it is reproducible. Not run yet.
    "full": {"minutes": None, "epochs": 300, "batch": 256, "lr": 0.2, "muon_lr": 0.07, "sides": [(1.0, 32)]},
}


def sides(text: str) -> list[tuple[float, int]]:
    pairs = [part.split(":") for part in text.split(",")]
    table = [(float(share), int(side)) for side, share in pairs]
    if table[-1][0] != 1:
        raise argparse.ArgumentTypeError("the last share must be 1")
    return table


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    here = pathlib.Path(__file__).parent
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--data", type=pathlib.Path, default=here / "../../../shared/data/cifar10-jpg.zip")
    parser.add_argument("--out", type=pathlib.Path, default=here / "runs", help="folder for checkpoint.pt and log.jsonl")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--init", type=pathlib.Path, help="a checkpoint, or an ONNX file that export.py wrote, to start from its weights")
    parser.add_argument("--teacher", type=pathlib.Path, action="append", default=[], help="the same, of a network to learn from, of any architecture; several: from their average")
    parser.add_argument("--architecture", default="small32")
    parser.add_argument("--optimiser", choices=["sgd", "muon"], default="muon")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--photo", type=float, default=0.35, help="share of pictures that get the photograph augmentation")
    parser.add_argument("--cut", type=float, default=0.75, help="share of pictures with a patch blanked")
    parser.add_argument("--mix", type=float, default=0.5, help="share of pictures with a patch of another one; falls to nothing over the second half")
    parser.add_argument("--holdout", type=int, default=0, help="judge on this many training images instead of the test set")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="one a core; only without a GPU")
    parser.add_argument("--sides", type=sides, metavar="SIDE:SHARE,...", help="sides of the views, each until that share of the training, such as 24:0.4,28:0.7,32:1")
    parser.add_argument("--save-every", type=float, default=120, metavar="SECONDS")
    for name in ("minutes", "epochs", "batch", "lr", "muon_lr"):
        parser.add_argument("--" + name.replace("_", "-"), type=int if name in ("epochs", "batch") else float)
    options = parser.parse_args()
    for name, value in PRESETS[options.preset].items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    if options.epochs:
        options.minutes = None
    return options


def rate(progress: float) -> float:
    """One cycle: up for the first tenth, then down along a line to nothing."""
    return min(progress / 0.1, (1 - progress) / 0.9) + 1e-4


@torch.no_grad()
def settle(model, images, photo, generator, device, cut=0.75) -> None:
    """Averaged weights need batch norm statistics of their own: those of twenty batches, at full size."""
    model.train()
    for batch in range(20):
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1 / (batch + 1)
        picked = torch.randint(len(images), (256,), generator=generator).to(images.device)
        x = data.augment(images[picked], data.SIDE, photo, generator, cut)
        with torch.autocast(device.type, torch.bfloat16):
            model(x)


@torch.no_grad()
def accuracy(model, images, labels, device) -> float:
    model.eval()
    right = 0
    for i in range(0, len(images), 500):
        x = data.normalise(images[i : i + 500].to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16):
            right += (model(x).argmax(1).cpu() == labels[i : i + 500]).sum().item()
    return right / len(images)


def work(rank: int, options) -> None:
    """One process: all of the training on a GPU, a share of each batch on a CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    world = 1 if device.type == "cuda" else options.processes
    if device.type == "cpu":
        # A process a core meets the others once a step. Threads would meet in every layer, and wait there for whoever is preempted.
        torch.set_num_threads(1)
        if rank == 0:
            fused.enable()
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{options.out.resolve()}/rendezvous", rank=rank, world_size=world, timeout=timedelta(hours=24))
        dist.barrier()
        fused.enable()

    images, labels = data.load(options.data, "train")
    if options.holdout:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        held, kept = order[: options.holdout], order[options.holdout :]
        test_images, test_labels, images, labels = images[held], labels[held], images[kept], labels[kept]
    else:
        test_images, test_labels = data.load(options.data, "test")
    images = images.to(device)

    torch.manual_seed(options.seed)
    model = network(options.architecture).to(device, memory_format=torch.channels_last)
    if hasattr(model, "whiten"):
        model.whiten(data.normalise(images[:5000]))
    if options.init or options.teacher:
        views = data.augment(images[:: len(images) // 1000], data.SIDE, options.photo, torch.Generator().manual_seed(options.seed))
    if options.init:
        start_from(model, options.init, views)
    teachers = [network(architecture_in(path, options.architecture)).to(device, memory_format=torch.channels_last) for path in options.teacher]
    for teacher, path in zip(teachers, options.teacher):
        start_from(teacher, path, views)
        # Statistics of the batch suit every side and every augmentation.
        teacher.train()
    average = copy.deepcopy(model)
    parameters = list(model.parameters())
    optimisers = optimiser.build(model, options.optimiser, options.lr, options.muon_lr)
    peaks = [[group["lr"] for group in o.param_groups] for o in optimisers]
    generator = torch.Generator().manual_seed(options.seed * 1000 + rank)

    averaged, current = ([t for t in m.state_dict().values() if t.is_floating_point()] for m in (average, model))

    epoch, step, spent = 0, 0, 0.0
    checkpoint = options.out / "checkpoint.pt"
    if options.resume:
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["weights"])
        for o, state in zip(optimisers, saved["optimisers"]):
            o.load_state_dict(state)
        epoch, step, spent = saved["epoch"], saved["step"], saved["spent"]
        generator.manual_seed(options.seed * 1000 + rank + 7919 * (step + 1))

    log = open(options.out / "log.jsonl", "a") if rank == 0 else None

    def note(**fields):
        if log:
            print(json.dumps(fields), file=log, flush=True)
            print(json.dumps(fields), flush=True)

    def save():
        state = {"architecture": options.architecture, "weights": average.state_dict(), "model": model.state_dict(),
                 "optimisers": [o.state_dict() for o in optimisers], "epoch": epoch, "step": step, "spent": time.time() - begin}
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)

    shown = {k: v for k, v in vars(options).items() if k not in ("data", "out", "init", "teacher")}
    note(event="resume" if options.resume else "start", torch=torch.__version__, python=platform.python_version(), device=device.type,
         world=world, weights=sum(p.numel() for p in parameters), init=options.init and options.init.name,
         teacher=[path.name for path in options.teacher], **shown)
    begin = time.time() - spent
    saved_at = time.time()
    per_epoch = len(images) // options.batch
    progress, done = step / (options.epochs * per_epoch) if options.epochs else spent / (options.minutes * 60), False

    while not done:
        model.train()
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(options.seed * 100_000 + epoch))
        total, seen, right, started = 0.0, 0, 0, time.time()
        for index in range(per_epoch):
            side = next(s for limit, s in options.sides if progress <= limit)
            picked = order[index * options.batch : (index + 1) * options.batch][rank::world].to(device)
            x, y = data.augment(images[picked], side, options.photo, generator, options.cut), labels[picked.cpu()].to(device)
            x, other = data.mix(x, options.mix * min(1, 2 * (1 - progress)), generator)
            with torch.autocast(device.type, torch.bfloat16):
                out = model(x)
            losses = [F.cross_entropy(out.float(), to, label_smoothing=0.1, reduction="none") for to in (y, y.roll(1, 0))]
            loss = torch.lerp(*losses, other).mean()
            if teachers:
                # Half of the loss. One teacher a step, of the view or its mirror image: over the steps that is the average of them all.
                with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
                    view = x.flip(3).contiguous(memory_format=torch.channels_last) if step // len(teachers) % 2 else x
                    answer = teachers[step % len(teachers)](view).float().softmax(1)
                loss = (loss + F.cross_entropy(out.float(), answer)) / 2
            for p in parameters:
                p.grad = None
            loss.backward()
            step += 1

            # Rank 0's clock decides for all, and travels with the gradients.
            ahead = step / (options.epochs * per_epoch) if options.epochs else (time.time() - begin) / (options.minutes * 60)
            if world > 1:
                flat = torch.cat([p.grad.flatten() for p in parameters] + [torch.tensor([ahead * world if rank == 0 else 0.0])])
                dist.all_reduce(flat)
                flat /= world
                ahead = flat[-1].item()
                for p, g in zip(parameters, flat[:-1].split([p.numel() for p in parameters])):
                    p.grad.copy_(g.view_as(p))
            progress = min(ahead, 1.0)
            for o, lrs in zip(optimisers, peaks):
                for group, lr in zip(o.param_groups, lrs):
                    group["lr"] = lr * rate(progress)
                o.step()

            # The average forgets faster while the weights move fast.
            with torch.no_grad():
                torch._foreach_lerp_(averaged, current, max(0.004, 1 / (step / 10 + 1)))
            total, seen, right = total + loss.item() * len(y), seen + len(y), right + (out.argmax(1) == y).sum().item()
            if rank == 0 and time.time() - saved_at > options.save_every:
                save()
                saved_at = time.time()
            done = progress >= 1
            if done:
                break
        epoch += 1
        fields = {"epoch": epoch, "step": step, "progress": round(progress, 4), "minutes": round((time.time() - begin) / 60, 2), "side": side,
                  "loss": round(total / seen, 4), "train_accuracy": round(right / seen, 4), "images_per_second": round(seen * world / (time.time() - started))}
        if not math.isfinite(total):
            raise SystemExit("the loss is not finite: lower --lr or --muon-lr, and resume")
        if done or epoch % 5 == 0:
            if rank == 0:
                settle(average, images, options.photo, generator, device, options.cut)
                fields["accuracy"] = accuracy(average, test_images, test_labels, device)
        note(**fields)
    if rank == 0:
        save()
        note(event="end", minutes=round((time.time() - begin) / 60, 2), epochs=epoch, accuracy=fields["accuracy"])


if __name__ == "__main__":
    settings = arguments()
    settings.out.mkdir(parents=True, exist_ok=True)
    (settings.out / "rendezvous").unlink(missing_ok=True)
    if torch.cuda.is_available() or settings.processes == 1:
        settings.processes = 1
        work(0, settings)
    else:
        # This process is rank 0: whoever stops it stops the training.
        children = [torch.multiprocessing.get_context("spawn").Process(target=work, args=(rank, settings), daemon=True) for rank in range(1, settings.processes)]
        for child in children:
            child.start()
        work(0, settings)
        for child in children:
            child.join()
