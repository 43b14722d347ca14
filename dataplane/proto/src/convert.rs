//! Convert.
