//! The egress guard: which addresses a request may be sent to.

use std::net::IpAddr;

use integrations_core::transport::AllowPrivate;
use ipnet::IpNet;

use crate::address::{Scope, destination, destination_network, scope};

/// Why the guard refused an address. Says nothing of the address itself, which would turn the
/// guard into a way of looking into the network behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the host has no public address: allow its network to reach it")]
    NotPublic,
    #[error("the host has a link-local, multicast or metadata address, which is never reached")]
    Forbidden,
    #[error("http:// is only for loopback and private addresses that are allowed: use https://")]
    Plaintext,
}

/// Text that should be a network is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a network: expected an address and a prefix length, such as 10.0.0.0/8")]
pub struct InvalidNetwork(String);

/// Which addresses that are not public may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Allowance {
    All,
    /// Sorted and without duplicates, so that equal allowances compare equal.
    Networks(Vec<IpNet>),
}

impl Allowance {
    pub(crate) fn parse(allow: &AllowPrivate) -> Result<Self, InvalidNetwork> {
        match allow {
            AllowPrivate::No => Ok(Self::Networks(Vec::new())),
            AllowPrivate::All => Ok(Self::All),
            AllowPrivate::Networks(networks) => {
                let networks = networks.iter().map(|text| parse_network(text));
                Ok(Self::networks(networks.collect::<Result<_, _>>()?))
            }
        }
    }

    /// What either allows.
    pub(crate) fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Networks(a), Self::Networks(b)) => Self::networks([&a[..], b].concat()),
            _ => Self::All,
        }
    }

    fn networks(mut networks: Vec<IpNet>) -> Self {
        networks.sort_unstable();
        networks.dedup();
        Self::Networks(networks)
    }

    /// Whether an address of this scope, which is not public, may be reached.
    fn opens(&self, address: IpAddr, scope: Scope) -> bool {
        match self {
            Self::All => scope == Scope::Private,
            Self::Networks(networks) => {
                let destination = destination(address);
                scope != Scope::Forbidden && networks.iter().any(|n| n.contains(&destination))
            }
        }
    }
}

fn parse_network(text: &str) -> Result<IpNet, InvalidNetwork> {
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network
        .map(destination_network)
        .map_err(|_| InvalidNetwork(text.to_owned()))
}

/// What the guard goes by for one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Egress {
    pub(crate) allowance: Allowance,
    /// The request is `http://`: whoever is on the way could read it.
    pub(crate) plaintext: bool,
}

impl Egress {
    /// Whether a request may be sent to `address`.
    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        match scope(address) {
            Scope::Public if self.plaintext => Err(Refusal::Plaintext),
            Scope::Public => Ok(()),
            Scope::Forbidden => Err(Refusal::Forbidden),
            scope if self.allowance.opens(address, scope) => Ok(()),
            _ => Err(Refusal::NotPublic),
        }
    }

    /// The addresses a request may be sent to, or why there are none.
    pub(crate) fn filter(&self, addresses: &[IpAddr]) -> Result<Vec<IpAddr>, Refusal> {
        let mut refusal = Refusal::NotPublic;
        let mut allowed = Vec::new();
        for address in addresses {
            match self.check(*address) {
                Ok(()) => allowed.push(*address),
                Err(reason) => refusal = reason,
            }
        }
        if allowed.is_empty() {
            Err(refusal)
        } else {
            Ok(allowed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> AllowPrivate {
        AllowPrivate::Networks(texts.iter().map(ToString::to_string).collect())
    }

    fn check(allow: &AllowPrivate, plaintext: bool, address: &str) -> Result<(), Refusal> {
        let allowance = Allowance::parse(allow).unwrap();
        Egress {
            allowance,
            plaintext,
        }
        .check(address.parse().unwrap())
    }

    // ADP-02
    #[test]
    fn the_guard_follows_its_table() {
        use Refusal::{Forbidden, NotPublic, Plaintext};

        let none = &AllowPrivate::No;
        let all = &AllowPrivate::All;
        let some = &networks(&[
            "10.1.0.0/16",
            "198.18.0.0/15",
            "::1",
            "169.254.0.0/16",
            "fe80::/10",
        ]);
        let everything = &networks(&["0.0.0.0/0", "::/0"]);
        let cases = [
            (none, false, "1.1.1.1", Ok(())),
            (none, true, "1.1.1.1", Err(Plaintext)),
            (none, false, "127.0.0.1", Err(NotPublic)),
            (none, true, "127.0.0.1", Err(NotPublic)),
            (none, false, "::ffff:10.0.0.1", Err(NotPublic)),
            (none, false, "169.254.169.254", Err(Forbidden)),
            (all, false, "127.0.0.1", Ok(())),
            (all, true, "127.0.0.1", Ok(())),
            (all, true, "::1", Ok(())),
            (all, true, "10.0.0.1", Ok(())),
            (all, true, "1.1.1.1", Err(Plaintext)),
            (all, false, "198.18.0.1", Err(NotPublic)),
            (all, false, "169.254.169.254", Err(Forbidden)),
            (all, false, "fd00:ec2::254", Err(Forbidden)),
            (all, false, "::ffff:169.254.169.254", Err(Forbidden)),
            (some, false, "10.1.2.3", Ok(())),
            (some, true, "10.1.2.3", Ok(())),
            (some, false, "::ffff:10.1.2.3", Ok(())),
            (some, false, "64:ff9b::10.1.2.3", Ok(())),
            (some, false, "10.2.0.1", Err(NotPublic)),
            (some, false, "198.19.0.1", Ok(())),
            (some, false, "::1", Ok(())),
            (some, false, "127.0.0.1", Err(NotPublic)),
            (some, false, "169.254.169.254", Err(Forbidden)),
            (some, false, "fe80::1", Err(Forbidden)),
            (everything, false, "169.254.169.254", Err(Forbidden)),
            (everything, false, "100.100.100.200", Err(Forbidden)),
            (everything, false, "fd00:ec2::254", Err(Forbidden)),
            (everything, false, "192.168.0.1", Ok(())),
            (everything, true, "8.8.8.8", Err(Plaintext)),
        ];
        for (allow, plaintext, address, expected) in cases {
            let checked = check(allow, plaintext, address);
            assert_eq!(
                checked, expected,
                "{allow:?} plaintext={plaintext} {address}"
            );
        }
    }

    // W-ADP-2
    #[test]
    fn only_allowed_addresses_of_a_name_remain() {
        let allowance = Allowance::parse(&AllowPrivate::No).unwrap();
        let egress = Egress {
            allowance,
            plaintext: false,
        };
        let [public, private, metadata] =
            ["1.1.1.1", "10.0.0.1", "169.254.169.254"].map(|text| text.parse().unwrap());
        assert_eq!(egress.filter(&[private, public]), Ok(vec![public]));
        assert_eq!(egress.filter(&[private]), Err(Refusal::NotPublic));
        assert_eq!(egress.filter(&[metadata]), Err(Refusal::Forbidden));
    }

    #[test]
    fn allowances_are_joined_and_compare_by_what_they_allow() {
        let parse = |allow| Allowance::parse(&allow).unwrap();
        let (a, b) = (parse(networks(&["10.0.0.0/8"])), parse(networks(&["::1"])));
        assert_eq!(a.union(&b), b.union(&a));
        assert_eq!(a.union(&a), a);
        assert_eq!(a.union(&Allowance::All), Allowance::All);
        assert_eq!(parse(AllowPrivate::No).union(&a), a);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "example.com", "10.0.0/8"] {
            assert!(
                Allowance::parse(&networks(&[text])).is_err(),
                "{text:?} was accepted"
            );
        }
    }
}
