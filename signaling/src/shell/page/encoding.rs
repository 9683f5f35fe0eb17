//! Which content encodings a client takes (RFC 9110, section 12.5.3).

/// How contents are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Brotli,
}

/// The encodings that a client takes, besides contents as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    gzip: bool,
    brotli: bool,
}

impl Encoding {
    /// Its name in `Content-Encoding`; none for contents as they are.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Brotli => Some("br"),
        }
    }
}

impl Accepted {
    /// Reads the values of `Accept-Encoding`. What is not named is taken if `*` is, unless a weight
    /// of 0 forbids it; other weights do not matter, since the client takes each of these.
    pub(super) fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut gzip, mut brotli, mut any) = (None, None, None);
        for item in values.into_iter().flat_map(|value| value.split(',')) {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let weight =
                parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
            let takes =
                weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0));
            if name.eq_ignore_ascii_case("br") {
                brotli = Some(takes);
            } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                gzip = Some(takes);
            } else if name == "*" {
                any = Some(takes);
            }
        }
        let taken = |named: Option<bool>| named.or(any).unwrap_or(false);
        Self { gzip: taken(gzip), brotli: taken(brotli) }
    }

    /// Whether contents can be sent so.
    pub(super) fn has(self, encoding: Encoding) -> bool {
        match encoding {
            Encoding::Identity => true,
            Encoding::Gzip => self.gzip,
            Encoding::Brotli => self.brotli,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_takes_is_read_with_its_weights() {
        let taken = |values: &[&str]| {
            let accepted = Accepted::of(values.iter().copied());
            (
                accepted.has(Encoding::Gzip),
                accepted.has(Encoding::Brotli),
                accepted.has(Encoding::Identity),
            )
        };
        assert_eq!(taken(&["gzip, deflate, br, zstd"]), (true, true, true));
        assert_eq!(taken(&["gzip;q=1.0, br;q=0.5"]), (true, true, true));
        assert_eq!(
            taken(&["gzip", " BR ; q=1"]),
            (true, true, true),
            "several headers are one list"
        );
        assert_eq!(taken(&["br;q=0, gzip; Q=0.000, *"]), (false, false, true));
        assert_eq!(taken(&["*"]), (true, true, true));
        assert_eq!(taken(&["*;q=0, br"]), (false, true, true));
        for none in
            [&[] as &[&str], &[""], &["identity"], &["brotli, gz"], &["br;q=no"], &[";;,,q=1"]]
        {
            assert_eq!(taken(none), (false, false, true), "{none:?}");
        }
    }
}
