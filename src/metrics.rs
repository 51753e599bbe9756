//! What the process counts, for `/metrics` and the live page.
