"""LLaMA-Factory's own entry; needs the environment `llamafactory` of `install.sh`."""

from __future__ import annotations

import probe

probe.name_missing_vision_operators()

from llamafactory.train.tuner import run_exp  # noqa: E402 -- it needs the names above


def main() -> None:
    """Train and tell."""
    job = probe.read_job()
    account = probe.Probe("LLaMA-Factory", job)
    account.watch_llava()
    asked = {
        "model_name_or_path": job.model,
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "template": "llava",
        "dataset": "bench",
        "dataset_dir": str(job.folder),
        "cutoff_len": job.longest,
        "overwrite_cache": True,
        "preprocessing_num_workers": 1,
        "output_dir": str(job.out),
        "disable_gradient_checkpointing": True,
        "disable_shuffling": True,
        "freeze_vision_tower": job.frozen,
        "freeze_language_model": job.frozen,
        "freeze_multi_modal_projector": False,
        "plot_loss": False,
    }
    run_exp(asked | job.arguments())
    account.tell()


if __name__ == "__main__":
    main()
