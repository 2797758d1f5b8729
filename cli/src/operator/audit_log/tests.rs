//! Are lines read strictly, and joined to the right sessions?
