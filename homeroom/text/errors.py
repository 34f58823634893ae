"""What can be wrong with a tokenizer or a chat template. When each is raised is the business of those that raise it."""

from homeroom.settings import HomeroomError


class TokenizerError(HomeroomError):
    """A tokenizer that cannot be read, or is of a kind that Homeroom does not carry."""


class ChatTemplateError(HomeroomError, ValueError):
    """A chat template refused a conversation, or failed on it; the message is the template's own where it has one."""


class NoChatTemplate(ChatTemplateError):
    """A base model is no assistant: its tokenizer does not say how a conversation is written."""
