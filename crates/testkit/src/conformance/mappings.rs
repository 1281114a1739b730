//! Cases of the `MappingStore` port.
