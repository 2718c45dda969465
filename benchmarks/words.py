"""What generated texts consist of."""

from __future__ import annotations

WORDS = (
    "the of and to in is that for it as was with be by on not he his but at are this have from "
    "or had an they which one you were all her she there would their we him been has when who "
    "def return import class print(x) {} , . : ; 42 2024 tokens streaming gateway"
).split()
FOREIGN = ["日本", "語の", "文章", "です", "。", "привет", " мир", "é", "ñ", "😀", "中文", "流式"]

ALIAS = "alias"
"""The name that a model is given."""
MODEL = "meta-llama/Llama-3.1-8B-Instruct"
CREATED = 1_748_649_600
ID = "chatcmpl-6cb5ba73-5b6e-4d2b-8d8c-0a3f2b1c9d7e"
