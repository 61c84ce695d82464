"""ms-swift's own entry; needs the environment `swift` of `install.sh`."""

from __future__ import annotations

import probe

probe.name_missing_vision_operators()

from swift import SftArguments, sft_main  # noqa: E402 -- it needs the names above


def main() -> None:
    """Train and tell."""
    job = probe.read_job()
    account = probe.Probe("ms-swift", job)
    account.watch_llava()
    sft_main(
        SftArguments(
            model=job.model,
            model_type="llava1_5_hf",
            template="llava1_5_hf",
            dataset=[str(job.folder / "swift.jsonl")],
            tuner_type="full",
            torch_dtype="float32",
            freeze_llm=job.frozen,
            freeze_vit=job.frozen,
            freeze_aligner=False,
            max_length=job.longest,
            dataset_shuffle=False,
            train_dataloader_shuffle=False,
            split_dataset_ratio=0.0,
            output_dir=str(job.out),
            attn_impl="sdpa",
            dataset_num_proc=1,
            gradient_checkpointing=False,
            **job.arguments(),
        )
    )
    account.tell()


if __name__ == "__main__":
    main()
