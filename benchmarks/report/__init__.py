"""The generated pages: what runs say, as Markdown and plots. Nothing in them is typed by hand."""
