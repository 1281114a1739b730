//! What every worker over a claimed queue needs: a signal to stop, and the claims it holds.

mod held;
mod pace;
mod stop;

pub use held::Held;
pub use pace::Pace;
pub use stop::Stop;
