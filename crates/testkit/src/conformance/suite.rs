//! [`conformance_suite!`](crate::conformance_suite) and the one list of its cases.

/// Stamps a test for every case of the suite, or for those of some aggregates only.
///
/// The expression is evaluated and awaited once for each case, and yields a fresh store: anything
/// that converts into a [`Subject`](crate::conformance::Subject). Tests are named
/// `conformance::<aggregate>::<case>`, and run on tokio with two threads.
///
/// ```no_run
/// # use integrations_testkit::conformance::Subject;
/// # async fn make_store() -> Subject { std::future::pending().await }
/// integrations_testkit::conformance_suite!(make_store());
/// # mod some {
/// # use super::make_store;
///
/// // Of a store with a few ports of its own:
/// integrations_testkit::conformance_suite!(make_store(); mappings, ledger);
/// # }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_suite {
    ($make:expr) => {
        $crate::conformance_suite!($make; all);
    };
    ($make:expr; $($aggregate:ident),+ $(,)?) => {
        #[cfg(test)]
        async fn conformance_subject() -> $crate::conformance::Subject {
            ::core::convert::Into::into($make.await)
        }

        #[cfg(test)]
        mod conformance {
            use super::conformance_subject;

            $($crate::__conformance_cases!(tests $aggregate);)+
        }
    };
}

/// The list. `tests` stamps the cases of an aggregate, `names` names them and their source.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    (@tests $aggregate:ident $($case:ident)*) => {
        mod $aggregate {
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let subject = super::conformance_subject().await;
                    $crate::conformance::$aggregate::$case(&subject).await;
                }
            )*
        }
    };
    (@names $aggregate:ident $($case:ident)*) => {
        (
            stringify!($aggregate),
            &[$(stringify!($case)),*] as &[&str],
            include_str!(concat!(stringify!($aggregate), ".rs")),
        )
    };
    (@each tests $($aggregate:ident)*) => {
        $($crate::__conformance_cases!(tests $aggregate);)*
    };
    (@each names $($aggregate:ident)*) => {
        [$($crate::__conformance_cases!(names $aggregate)),*]
    };
    ($what:ident all) => {
        $crate::__conformance_cases! { @each $what
            integrations
            journal
            request_log
            operation_log
            mappings
            ledger
            cache
            keys
            sync_runs
            sync_items
            sync_cursor
            inbox
            gate
            leases
            tokens
            retention
            workers
            concurrency
        }
    };
    ($what:ident integrations) => {
        $crate::__conformance_cases! { @$what integrations
        }
    };
    ($what:ident journal) => {
        $crate::__conformance_cases! { @$what journal
        }
    };
    ($what:ident request_log) => {
        $crate::__conformance_cases! { @$what request_log
        }
    };
    ($what:ident operation_log) => {
        $crate::__conformance_cases! { @$what operation_log
        }
    };
    ($what:ident mappings) => {
        $crate::__conformance_cases! { @$what mappings
        }
    };
    ($what:ident ledger) => {
        $crate::__conformance_cases! { @$what ledger
        }
    };
    ($what:ident cache) => {
        $crate::__conformance_cases! { @$what cache
        }
    };
    ($what:ident keys) => {
        $crate::__conformance_cases! { @$what keys
        }
    };
    ($what:ident sync_runs) => {
        $crate::__conformance_cases! { @$what sync_runs
        }
    };
    ($what:ident sync_items) => {
        $crate::__conformance_cases! { @$what sync_items
        }
    };
    ($what:ident sync_cursor) => {
        $crate::__conformance_cases! { @$what sync_cursor
        }
    };
    ($what:ident inbox) => {
        $crate::__conformance_cases! { @$what inbox
        }
    };
    ($what:ident gate) => {
        $crate::__conformance_cases! { @$what gate
        }
    };
    ($what:ident leases) => {
        $crate::__conformance_cases! { @$what leases
        }
    };
    ($what:ident tokens) => {
        $crate::__conformance_cases! { @$what tokens
        }
    };
    ($what:ident retention) => {
        $crate::__conformance_cases! { @$what retention
        }
    };
    ($what:ident workers) => {
        $crate::__conformance_cases! { @$what workers
        }
    };
    ($what:ident concurrency) => {
        $crate::__conformance_cases! { @$what concurrency
        }
    };
}
