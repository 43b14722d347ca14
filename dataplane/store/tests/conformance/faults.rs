//! What only a real Redis can do wrong.
