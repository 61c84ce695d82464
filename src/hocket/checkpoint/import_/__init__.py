r"""Checkpoints of other systems, written anew as Hocket checkpoints.

``hocket model import KIND SRC OUT`` goes through these files:

=================  ====================================================================
`origin`           the folder as it was found: its config.json, folders that it names
`weights`          its tensors by name, read one at a time (safetensors, or .bin)
`kinds.*`          one file per system: recognises it, describes it
`description`      what such a file returns
`language`         language models, tokenizers and templates, from their config.json
`tower`            encoders, from their config.json
`projector`        the projectors of LLaVA and VILA
`lora`             adapters, merged into their base
`table`            which tensor goes where: `Move`, `Split`, `Skip`
`engine`           checks the table against the model, streams the tensors, writes OUT
`report`           what became of every tensor
=================  ====================================================================

To add a system, add one file to ``kinds``::

    from hocket.checkpoint.import_.description import Description
    from hocket.checkpoint.import_.kinds import importers
    from hocket.checkpoint.import_.language import language_spec, open_tokenizer
    from hocket.checkpoint.import_.origin import Origin
    from hocket.checkpoint.import_.table import COMPUTED, Move, Skip
    from hocket.checkpoint.import_.weights import open_weights

    @importers.register
    class Foo:
        @staticmethod
        def detect(origin: Origin) -> bool:
            return origin.config.get("model_type") == "foo"     # by content, never by path

        @staticmethod
        def describe(origin: Origin) -> Description:
            weights = open_weights(origin.folder)               # names and shapes, no data yet
            tokenizer = open_tokenizer(origin.folder)
            language = language_spec(origin.config, "qwen2", rows=..., tokenizer=tokenizer)
            spec = ModelSpec(language=language, vision=TowerSpec(...), tokenizer=..., init=...)
            config, processor = describe(spec, tokenizer=tokenizer, text_rules={...})
            rules = (
                Move(r"llm\.model\.(.+)", r"model.language_model.\1"),
                Split(r"(.+)\.qkv\.(weight|bias)", (r"\1.q.\2", r"\1.k.\2", r"\1.v.\2")),
                Skip(r".*post_layernorm.*", "the features do not use it"),
                *COMPUTED,
            )
            return Description(config, processor, weights, rules, notes=("template: chatml",))

A rule's pattern must match the whole name, and the first rule that matches counts. Tensors of
several folders get a prefix each: ``join({"": own, "tower/": tower})``. Whatever no rule matches,
and whatever the model lacks afterwards, stops the import with the names.
"""
