"""Graphs as files of other tools: one package per format, each exact, or refusing the graph with a sentence."""
