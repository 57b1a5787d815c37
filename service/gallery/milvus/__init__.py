"""Galleries in Milvus, for more crops than one machine should hold."""
