"""The slow, exact path: what Pydantic's parser and its lax mode make of a document."""
