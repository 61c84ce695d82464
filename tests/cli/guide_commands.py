"""The training commands of the originals' guides, word for word, and the run each belongs to here.

Where a guide prints flags without a command, as lists of arguments and tables do, they stand with
the values that it prints beside them.
"""

from __future__ import annotations

from typing import NamedTuple


class Guide(NamedTuple):
    """What a guide prints, and the words of ``hocket train`` that go before its flags."""

    run: str
    printed: str


GUIDES = {
    "Ovis: start training": Guide(
        "experiment=ovis25 --stage_name sft",
        r"""python train_theo.py \
    --llm_name_or_path "Qwen/Qwen3-8B" \
    --vit_name_or_path "google/siglip2-so400m-patch16-512" \
    --visual_vocab_size 65536 \
    --data_path "./data/train_data.json" \
    --image_folder "./data/images" \
    --train_modules "all" \
    --output_dir "./checkpoints/my_ovis_model" \
    --num_train_epochs 3 \
    --per_device_train_batch_size 1 \
    --gradient_accumulation_steps 16 \
    --learning_rate 2e-5 \
    --multimodal_max_length 4096 \
    --single_image_min_pixels 200704 \
    --single_image_max_pixels 2408448 \
    --multiple_image_max_pixels 802816 \
    --video_max_pixels 802816
""",
    ),
    "Ovis: model arguments": Guide(
        "experiment=ovis25",
        r"""--llm_name_or_path "Qwen/Qwen3-8B" \
    --vit_name_or_path google/siglip2-so400m-patch16-512 \
    --visual_vocab_size 65536 \
    --conversation_formatter_class Qwen3ConversationFormatter \
    --attn_implementation flash_attention_2 \
    --accepts_loss_kwargs False \
    --vit_hidden_stride 2 \
    --vit_window_size 112 \
    --vit_temporal_patch_size 1 \
    --vit_preserve_original_pe True \
    --vit_use_rope True
""",
    ),
    "Ovis: training arguments": Guide(
        "experiment=ovis25 --stage_name sft",
        r"""--train_modules "visual_tokenizer.head:1e-4|llm:2e-5" \
    --stage 3 \
    --multimodal_max_length 4096 \
    --text_max_length 4096 \
    --single_image_min_pixels 200704 \
    --single_image_max_pixels 2408448 \
    --multiple_image_min_pixels 200704 \
    --multiple_image_max_pixels 802816 \
    --video_min_pixels 200704 \
    --video_max_pixels 802816 \
    --monitor_step 100 \
    --model_init_seed 0 \
    --data_type "conversation" \
    --bf16 --report_to tensorboard
""",
    ),
    "VITA: stage 1": Guide(
        "experiment=vita15 --stage vision",
        r"""bash script/train/stage1_vision_language.sh \
    --data_path /path/to/processed_data \
    --output_dir /path/to/stage1_output \
    --num_gpus 8
""",
    ),
    "VITA: stage 2": Guide(
        "experiment=vita15 --stage negative",
        r"""bash script/train/finetuneTaskNeg_qwen_nodes.sh \
# --model_name_or_path VITA1.5_ckpt
# --vision_tower InternViT-300M-448px
# --audio_encoder audio-encoder-Qwen2-7B-1107-weight-base-11wh-tunning
""",
    ),
    "VITA: stage 3": Guide(
        "experiment=vita15 --stage multimodal",
        r"""bash script/train/stage3_end_to_end.sh \
    --data_path /path/to/multimodal_data \
    --stage2_ckpt /path/to/stage2_output \
    --output_dir /path/to/final_output \
    --num_gpus 8
""",
    ),
    "VITA: training script": Guide(
        "experiment=vita15 --stage_name vision",
        r"""python -m torch.distributed.launch \
    --nproc_per_node=$NUM_GPUS \
    --master_port=29500 \
    vita/train/trainer.py \
    --model_name_or_path /path/to/base_model \
    --data_path $DATA_PATH \
    --output_dir $OUTPUT_DIR \
    --num_train_epochs 3 \
    --per_device_train_batch_size 4 \
    --per_device_eval_batch_size 4 \
    --gradient_accumulation_steps 4 \
    --evaluation_strategy "no" \
    --save_strategy "steps" \
    --save_steps 500 \
    --save_total_limit 2 \
    --learning_rate 2e-5 \
    --weight_decay 0. \
    --warmup_ratio 0.03 \
    --lr_scheduler_type "cosine" \
    --logging_steps 1 \
    --tf32 True \
    --model_max_length 2048 \
    --gradient_checkpointing True \
    --dataloader_num_workers 4 \
    --lazy_preprocess True \
    --report_to wandb
""",
    ),
    "VITA: continual training": Guide(
        "experiment=own_data",
        r"""bash script/train/finetune_custom.sh \
    --model_path /path/to/vita-1.5 \
    --data_path $DATA_PATH \
    --output_dir $OUTPUT_DIR \
    --num_epochs 1 \
    --learning_rate 1e-5
""",
    ),
    "VITA: vision tower": Guide(
        "experiment=vita15", "python train.py --vision_tower /path/to/InternViT-300M-448px"
    ),
    "NaVILA: sft_8frames.sh": Guide(
        "experiment=navila",
        r"""--model_name_or_path meta-llama/Meta-Llama-3-8B-Instruct \
--vision_tower google/siglip-so400m-patch14-384 \
--mm_projector_type mlp_downsample \
--mm_vision_select_layer -2 \
--data_mixture r2r+rxr+envdrop+human+scanqa \
--num_video_frames 8 \
--per_device_train_batch_size 10 \
--learning_rate 1e-4 \
--num_train_epochs 1
""",
    ),
    "NaVILA: CLIP and Mistral": Guide(
        "experiment=navila model=clip_mistral_7b",
        r"""--model_name_or_path mistralai/Mistral-7B-Instruct-v0.2 \
--vision_tower openai/clip-vit-large-patch14-336 \
--mm_projector_type mlp
""",
    ),
    "NaVILA: data": Guide(
        "experiment=navila",
        r"""--data_path /path/to/NaVILA-Dataset
--image_folder /path/to/NaVILA-Dataset
--video_folder /path/to/NaVILA-Dataset
""",
    ),
    "NaVILA: learning rate and saves": Guide(
        "experiment=navila",
        r"""--learning_rate 1e-4 \
--lr_scheduler_type cosine \
--warmup_ratio 0.03 \
--weight_decay 0.0 \
--save_strategy epoch \
--save_total_limit 2 \
--save_steps 1000
""",
    ),
    "NaVILA: a small trial": Guide(
        "experiment=navila",
        r"""--max_steps 10 \
--save_steps 5 \
--eval_steps 5
""",
    ),
    "LLaVA: pretrain.sh": Guide(
        "experiment=llava15 --stage_name pretrain",
        r"""deepspeed llava/train/train_mem.py \
        --deepspeed ./scripts/zero2.json \
        --model_name_or_path lmsys/vicuna-13b-v1.5 \
        --version plain \
        --data_path ./playground/data/LLaVA-Pretrain/blip_laion_cc_sbu_558k.json \
        --image_folder ./playground/data/LLaVA-Pretrain/images \
        --vision_tower openai/clip-vit-large-patch14-336 \
        --mm_projector_type mlp2x_gelu \
        --tune_mm_mlp_adapter True \
        --mm_vision_select_layer -2 \
        --mm_use_im_start_end False \
        --mm_use_im_patch_token False \
        --bf16 True \
        --output_dir ./checkpoints/llava-v1.5-13b-pretrain \
        --num_train_epochs 1 \
        --per_device_train_batch_size 32 \
        --per_device_eval_batch_size 4 \
        --gradient_accumulation_steps 1 \
        --evaluation_strategy "no" \
        --save_strategy "steps" \
        --save_steps 24000 \
        --save_total_limit 1 \
        --learning_rate 1e-3 \
        --weight_decay 0. \
        --warmup_ratio 0.03 \
        --lr_scheduler_type "cosine" \
        --logging_steps 1 \
        --tf32 True \
        --model_max_length 2048 \
        --gradient_checkpointing True \
        --dataloader_num_workers 4 \
        --lazy_preprocess True \
        --report_to wandb
""",
    ),
}
