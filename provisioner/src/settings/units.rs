//! Quantities with their units.

use bytesize::ByteSize;
use jiff::SignedDuration;

use super::raw::Scalar;

/// A duration such as `90m`, `1h 30m` or `PT90M`, in whole seconds and above zero.
pub(super) fn duration(value: &Scalar) -> Result<SignedDuration, String> {
    let text = match value {
        Scalar::Text(text) => text,
        Scalar::Integer(n) => {
            return Err(format!("{n} has no unit: write \"{n}s\", \"{n}m\" or \"{n}h\""));
        }
        Scalar::Float(n) => {
            return Err(format!("{n} has no unit: write a duration such as \"90m\""));
        }
    };
    parse_duration(text)
}

/// A duration out of a text.
pub(crate) fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    if text.parse::<f64>().is_ok() {
        return Err(format!("{text:?} has no unit: write \"{text}s\", \"{text}m\" or \"{text}h\""));
    }
    let wrong =
        || format!("{text:?} is not a duration: write one such as \"45m\", \"3h\" or \"1h 30m\"");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    if duration.subsec_nanos() != 0 || !duration.is_positive() {
        return Err(format!("{text:?} is not a whole number of seconds above zero"));
    }
    if u32::try_from(duration.as_secs()).is_err() {
        return Err(format!("{text:?} is longer than anything here can last"));
    }
    Ok(duration)
}

/// Bytes in whole units of `unit`, which has this name.
fn bytes(value: &Scalar, unit: u64, name: &str) -> Result<u32, String> {
    let text = match value {
        Scalar::Text(text) => text,
        Scalar::Integer(n) => return Err(format!("{n} has no unit: write \"{n}{name}\"")),
        Scalar::Float(n) => return Err(format!("{n} has no unit: write \"{n}{name}\"")),
    };
    if text.parse::<f64>().is_ok() {
        return Err(format!("{text:?} has no unit: write \"{text}{name}\""));
    }
    // ByteSize takes `40m` for 40 megabytes.
    if parse_duration(text).is_ok() && !text.ends_with(['B', 'b']) {
        return Err(format!("{text:?} is a duration, not a size: write one such as \"256{name}\""));
    }
    let size: ByteSize = text
        .parse()
        .map_err(|_| format!("{text:?} is not a size: write one such as \"256{name}\""))?;
    if size.as_u64() == 0 || !size.as_u64().is_multiple_of(unit) {
        return Err(format!("{text:?} is not a whole number of {name} above zero"));
    }
    u32::try_from(size.as_u64() / unit)
        .map_err(|_| format!("{text:?} is more than anything here can hold"))
}

/// A size in whole MiB.
pub(super) fn mebibytes(value: &Scalar) -> Result<u32, String> {
    bytes(value, 1 << 20, "MiB")
}

/// A size in whole MiB, out of a flag.
pub(crate) fn parse_mebibytes(text: &str) -> Result<u32, String> {
    mebibytes(&Scalar::Text(text.to_owned()))
}

/// A size in whole GiB.
pub(super) fn gibibytes(value: &Scalar) -> Result<u32, String> {
    bytes(value, 1 << 30, "GiB")
}

/// Dollars per hour, written as EC2 wants them: decimal digits, no exponent.
pub(super) fn dollars(value: &Scalar) -> Result<String, String> {
    Ok(amount(value, "price in dollars per instance-hour", 1000.0)?.to_string())
}

/// Dollars for a whole block.
pub(super) fn cost(value: &Scalar) -> Result<f64, String> {
    amount(value, "cost in dollars of a whole block", 1_000_000.0)
}

fn amount(value: &Scalar, what: &str, most: f64) -> Result<f64, String> {
    let amount = match value {
        #[expect(clippy::cast_precision_loss, reason = "prices are small")]
        Scalar::Integer(n) => *n as f64,
        Scalar::Float(n) => *n,
        Scalar::Text(text) => {
            return Err(format!("{text:?} is a text: write dollars as a number, such as 0.03"));
        }
    };
    if !amount.is_finite() || amount <= 0.0 || amount > most {
        return Err(format!("{amount} is not a {what} above 0 and up to {most}"));
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    #[test]
    fn quantities_have_their_units() {
        assert_eq!(duration(&text("1h 30m")), Ok(SignedDuration::from_mins(90)));
        assert_eq!(duration(&text("40m")), Ok(SignedDuration::from_mins(40)));
        assert_eq!(mebibytes(&text("256MiB")), Ok(256));
        assert_eq!(mebibytes(&text("2GiB")), Ok(2048));
        assert_eq!(gibibytes(&text("100GiB")), Ok(100));
        assert_eq!(dollars(&Scalar::Float(0.03)), Ok("0.03".into()));
        assert_eq!(dollars(&Scalar::Integer(2)), Ok("2".into()));
        assert_eq!(dollars(&Scalar::Float(0.000_001)), Ok("0.000001".into()));
    }

    #[test]
    fn quantities_without_or_with_wrong_units_are_refused_with_the_right_one() {
        for (result, part) in [
            (duration(&Scalar::Integer(60)).map(|_| ()), "write \"60s\", \"60m\" or \"60h\""),
            (duration(&text("60")).map(|_| ()), "has no unit"),
            (duration(&text("60MiB")).map(|_| ()), "is not a duration"),
            (duration(&text("-5m")).map(|_| ()), "above zero"),
            (duration(&text("1500ms")).map(|_| ()), "whole number of seconds"),
            (mebibytes(&Scalar::Integer(256)).map(|_| ()), "write \"256MiB\""),
            (mebibytes(&text("256MB")).map(|_| ()), "whole number of MiB"),
            (
                mebibytes(&text("40m")).map(|_| ()),
                "is a duration, not a size: write one such as \"256MiB\"",
            ),
            (gibibytes(&text("1MiB")).map(|_| ()), "whole number of GiB"),
            (dollars(&text("3 cents")).map(|_| ()), "write dollars as a number"),
            (dollars(&Scalar::Float(0.0)).map(|_| ()), "above 0"),
            (cost(&Scalar::Float(0.0)).map(|_| ()), "of a whole block above 0 and up to 1000000"),
            (cost(&text("9 dollars")).map(|_| ()), "write dollars as a number"),
        ] {
            let problem = result.expect_err(part);
            assert!(problem.contains(part), "{problem:?} does not say {part:?}");
        }
    }
}
