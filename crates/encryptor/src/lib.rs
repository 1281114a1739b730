//! encryptor
