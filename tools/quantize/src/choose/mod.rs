//! Which type each tensor gets, and how much its errors weigh.

pub(crate) mod budget;
pub(crate) mod choice;
pub(crate) mod imatrix;
pub(crate) mod recipe;
pub(crate) mod role;
pub(crate) mod sensitivity;
pub(crate) mod size;
pub(crate) mod tensor_type;
pub mod types;
pub(crate) mod weigh;
pub(crate) mod writable;
