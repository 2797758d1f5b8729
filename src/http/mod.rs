//! How does a gateway's event become a question, and the answer HTTP again?
//!
//! An event is taken as the data that it is: `lambda_http`'s own conversion to a request panics on queries and headers
//! that any client can send. What cannot be understood is answered with 400.

#[cfg(feature = "lambda")]
mod about;
#[cfg(feature = "lambda")]
mod bearer_token;
#[cfg(feature = "lambda")]
mod cors;
#[cfg(feature = "lambda")]
mod error_response;
#[cfg(feature = "lambda")]
mod event;
#[cfg(feature = "lambda")]
mod function;
pub mod parameters;
#[cfg(feature = "lambda")]
mod portal;
#[cfg(feature = "lambda")]
mod raw_parameters;
#[cfg(feature = "lambda")]
mod route;

#[cfg(feature = "lambda")]
pub use self::about::About;
#[cfg(feature = "lambda")]
pub use self::function::Function;
