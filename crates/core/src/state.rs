//! State columns: enums that keep a state a newer version wrote.

/// Defines an enum over the texts of a state column.
///
/// State columns carry no check constraint, so that a newer version may add a state. A text this
/// version does not know becomes `Unrecognised` and is written back as it was.
macro_rules! define_state {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A state of a newer version: kept as it is, never acted on.
            Unrecognised(String),
        }

        impl $name {
            /// Every state this version knows.
            pub const KNOWN: &'static [&'static str] = &[$($text),+];

            /// The text of the column.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unrecognised(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Unrecognised(text),
                }
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                text.to_owned().into()
            }
        }

        impl From<$name> for String {
            fn from(state: $name) -> Self {
                match state {
                    $name::Unrecognised(text) => text,
                    known => known.as_str().to_owned(),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub(crate) use define_state;
