//! Plans and orders without any table.
