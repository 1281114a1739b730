//! The rules of syncs, as pure functions over the rows a store has under its lock.
//!
//! A store reads rows, asks a function here what becomes of them, and writes what it answers:
//! [`MemoryStore`](https://docs.rs/integrations-testkit) with every row at hand, the SQL stores
//! with those their statements select. What a statement has to decide itself (which items a claim
//! may take) is written here too, and the suite compares the two. The model check in `testkit`
//! walks every order of these very steps for small sizes.
//!
//! ```text
//! place ─► claimed ─► settled ─► counted ─► end ─► cursor
//!   page.rs   item.rs   settle.rs  counts.rs  end.rs   cursor.rs
//!  sweep.rs
//! ```

mod counts;
mod cursor;
mod decide;
mod end;
mod item;
mod page;
mod record;
mod settle;
mod sweep;

pub use counts::{Recount, count};
pub use cursor::{is_further, put_cursor, watermark};
pub use decide::{Decided, decide};
pub use end::{SyncEnd, end_run, end_summary, end_sync, may_move_cursor, mend_run};
pub use item::{DELETED, ItemLease, ItemState, RETURNED, RecordKey, SUPERSEDED};
pub use page::{Known, PagePlan, plan_page, resume_run};
pub use record::RecordState;
pub use settle::{Changes, settle};
pub use sweep::{SweepPlan, Unseen, is_unseen, plan_sweep};
