//! What kind of place an address is, by the special-purpose registries of IANA.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How far an address may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Anywhere on the internet.
    Public,
    /// Loopback and private networks: reached where private networks are allowed.
    Private,
    /// Documentation, benchmarks and other reserved ranges: reached only where the very network
    /// is allowed.
    Reserved,
    /// Never reached: link-local and multicast addresses, and the metadata services of clouds.
    Forbidden,
}

const FORBIDDEN_V4: [Ipv4Net; 8] = [
    v4(0, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(224, 0, 0, 0, 4),
    v4(255, 255, 255, 255, 32),
    // Metadata of Alibaba Cloud, Oracle Cloud and Azure; the others are link-local.
    v4(100, 100, 100, 200, 32),
    v4(192, 0, 0, 192, 32),
    v4(168, 63, 129, 16, 32),
    // Relays to 6to4, long gone: whoever announces them today is nobody to talk to.
    v4(192, 88, 99, 0, 24),
];

const PRIVATE_V4: [Ipv4Net; 5] = [
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 168, 0, 0, 16),
];

const RESERVED_V4: [Ipv4Net; 6] = [
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(240, 0, 0, 0, 4),
];

const FORBIDDEN_V6: [Ipv6Net; 8] = [
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    // Metadata of Amazon and Google, which lie in private space.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128),
    // Teredo, and the translation prefix of RFC 8215: either leads to an IPv4 address that cannot
    // be read off, as the position within the latter is each network's own choice.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    // IPv4-compatible addresses, long deprecated; loopback is looked at before.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
];

const PRIVATE_V6: [Ipv6Net; 3] = [
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
];

/// The only space IPv6 addresses are given out of so far, and what in it is not public.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const RESERVED_V6: [Ipv6Net; 3] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// IPv6 prefixes that carry an IPv4 address, with the index of its first byte: mapped addresses,
/// NAT64 and 6to4.
const CARRIERS: [(Ipv6Net, usize); 3] = [
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), 12),
    (v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96), 12),
    (v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), 2),
];

/// The address that is reached in the end: the IPv4 address where an IPv6 one carries it.
pub(crate) fn destination(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let carrier = CARRIERS.iter().find(|(prefix, _)| prefix.contains(&v6));
    carrier.map_or(address, |&(_, at)| {
        let bytes = v6.octets();
        Ipv4Addr::new(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]).into()
    })
}

/// The scope of `address`, judged by its [`destination`].
pub(crate) fn scope(address: IpAddr) -> Scope {
    match destination(address) {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

fn scope_v4(address: Ipv4Addr) -> Scope {
    let within = |networks: &[Ipv4Net]| networks.iter().any(|network| network.contains(&address));
    if within(&FORBIDDEN_V4) {
        Scope::Forbidden
    } else if within(&PRIVATE_V4) {
        Scope::Private
    } else if within(&RESERVED_V4) {
        Scope::Reserved
    } else {
        Scope::Public
    }
}

fn scope_v6(address: Ipv6Addr) -> Scope {
    let within = |networks: &[Ipv6Net]| networks.iter().any(|network| network.contains(&address));
    if address.is_loopback() {
        Scope::Private
    } else if within(&FORBIDDEN_V6) {
        Scope::Forbidden
    } else if within(&PRIVATE_V6) {
        Scope::Private
    } else if within(&RESERVED_V6) || !GLOBAL_V6.contains(&address) {
        Scope::Reserved
    } else {
        Scope::Public
    }
}

/// The network as its destinations are: an allowed `::ffff:10.0.0.0/104` means `10.0.0.0/8`.
pub(crate) fn destination_network(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let mapped = v6
        .addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96));
    let v4 = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::from_segments(segments), prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope_of(text: &str) -> Scope {
        scope(text.parse().unwrap())
    }

    // ADP-02
    #[test]
    fn addresses_have_the_scope_of_their_registry_entry() {
        let cases = [
            (
                Scope::Public,
                "1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 \
                 128.0.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 \
                 198.20.0.0 223.255.255.255 2606:4700::1111 2a00:1450::1 2001:4860:4860::8888 \
                 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1",
            ),
            (
                Scope::Private,
                "10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255 \
                 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 ::1 fc00:: fd12:3456::1 \
                 fec0::1 ::ffff:127.0.0.1 ::ffff:10.1.2.3 64:ff9b::192.168.0.1 64:ff9b::a00:1 \
                 2002:7f00:1::1 2002:c0a8:1::",
            ),
            (
                Scope::Reserved,
                "192.0.0.1 192.0.2.1 198.18.0.0 198.19.255.255 198.51.100.7 203.0.113.9 240.0.0.1 \
                 255.255.255.254 2001:db8::1 2001:2::1 2001:10::1 2001:20::1 3fff::1 100::1 \
                 4000::1 5f00::1 ::ffff:0:8.8.8.8 ::ffff:192.0.2.1 2002:c000:201::",
            ),
            (
                Scope::Forbidden,
                "0.0.0.0 0.1.2.3 169.254.0.0 169.254.169.254 169.254.255.255 224.0.0.1 \
                 239.255.255.255 255.255.255.255 100.100.100.200 192.0.0.192 168.63.129.16 \
                 192.88.99.1 :: fe80::1 febf:ffff::1 ff02::1 fd00:ec2::254 fd20:ce::254 2001::1 \
                 2001:0:4136:e378:8000:63bf:3fff:fdd2 64:ff9b:1::808:808 ::2 ::127.0.0.1 \
                 ::ffff:169.254.169.254 ::ffff:0.0.0.0 64:ff9b::169.254.169.254 2002:a9fe:a9fe::1",
            ),
        ];
        for (expected, addresses) in cases {
            for address in addresses.split_whitespace() {
                assert_eq!(scope_of(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn mapped_networks_mean_their_ipv4_network() {
        let network = |text: &str| destination_network(text.parse().unwrap()).to_string();
        assert_eq!(network("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(network("fd00::/8"), "fd00::/8");
        assert_eq!(network("10.0.0.0/8"), "10.0.0.0/8");
        assert_eq!(network("::/0"), "::/0");
    }

    proptest! {
        #[test]
        fn whatever_carries_an_ipv4_address_has_its_scope(bits: u32, rest: u64) {
            let inner = Ipv4Addr::from_bits(bits);
            let mapped = inner.to_ipv6_mapped();
            let nat64 = Ipv6Addr::from_bits((0x0064_ff9b_u128 << 96) | u128::from(bits));
            let to4 = Ipv6Addr::from_bits((0x2002_u128 << 112) | (u128::from(bits) << 80) | u128::from(rest));
            for carrier in [mapped, nat64, to4] {
                prop_assert_eq!(scope(carrier.into()), scope(inner.into()));
            }
        }

        #[test]
        fn what_the_standard_library_knows_is_never_public(
            v4: u32,
            head in prop_oneof![Just(0_u16), 0xfc00_u16..=0xffff, any::<u16>()],
            rest in prop_oneof![Just(0_u128), Just(1 << 16), any::<u128>()],
        ) {
            let v6 = (u128::from(head) << 112) | (rest >> 16);
            for address in [IpAddr::from(Ipv4Addr::from_bits(v4)), Ipv6Addr::from_bits(v6).into()] {
                let special = match address {
                    IpAddr::V4(a) => {
                        a.is_private() || a.is_loopback() || a.is_link_local() || a.is_multicast()
                            || a.is_unspecified() || a.is_broadcast() || a.is_documentation()
                    }
                    IpAddr::V6(a) => {
                        a.is_loopback() || a.is_unspecified() || a.is_multicast()
                            || a.is_unique_local() || a.is_unicast_link_local()
                    }
                };
                prop_assert!(!special || scope(address) != Scope::Public);
            }
        }
    }
}
