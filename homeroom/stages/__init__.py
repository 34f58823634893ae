"""The steps of the circle. Each module has a `Config`, a `VERSION` and `run(config, workspace) -> Artifact`.

A stage composes what the rooms below offer and holds no logic of its own. This file names the steps in order
and imports none of them, so that whoever only asks for the order does not load torch.
"""

CIRCLE = {
    "collect": "read the sources into one table of documents",
    "clean": "repair, filter, deduplicate and split the documents",
    "tokenize": "train the tokenizer and cut the text into shards of token ids",
    "pretrain": "train the base model to predict the next token",
    "sft": "fine-tune it on demonstrations of answering",
    "rankings": "sample answers and rank them, best first",
    "reward": "train the reward model on the rankings and qualify it",
    "judge": "train an independent judge on other questions with another seed",
    "ppo": "improve the answers by reinforcement learning against the reward model",
    "evaluate": "measure every stage's model in the same way",
    "promote": "make the best model the champion that is served",
    "vote": "let the scripted rater vote on served answers through the HTTP API",
    "harvest": "gather votes into preference pairs, split by question",
    "improve": "learn from the votes, then promote or refuse through the gate",
}
