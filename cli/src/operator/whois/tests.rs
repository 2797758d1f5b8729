//! Is an event read strictly, and is only believed what is confirmed?
