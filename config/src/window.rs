//! Times of the week as they are written: `Mon-Fri 22:00-06:00`.

use squire_engine::planner::window::Window;

use crate::error::Refusal;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const FORM: &str =
    "write days and times such as \"Mon-Fri 22:00-06:00\"; without days it is every day";

/// Reads one window.
pub(crate) fn window(text: &str) -> Result<Window, Refusal> {
    let refuse = |what: String| Err(Refusal::new(what, FORM));
    let parts: Vec<&str> = text.split_whitespace().collect();
    let (days, times) = match parts[..] {
        [times] => (Window::EVERY_DAY, times),
        [of_week, times] => (days(of_week)?, times),
        _ => return refuse(format!("{text:?} is not days and times")),
    };
    let Some((from, to)) = times.split_once('-') else {
        return refuse(format!("{times:?} has no end"));
    };
    let (from, to) = (minute(from)?, minute(to)?);
    if from == to || from == 24 * 60 {
        return refuse(format!(
            "{times:?} is no time at all, or a whole day; 00:00-24:00 is a day"
        ));
    }
    Ok(Window { days, from, to })
}

/// A window as a file says it.
pub(crate) fn text_of(window: &Window) -> String {
    let on = |day: &usize| window.days & (1 << day) != 0;
    let days: Vec<&str> = (0..7).filter(on).map(|day| DAYS[day]).collect();
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let times = format!("{}-{}", time(window.from), time(window.to));
    if days.len() == DAYS.len() {
        times
    } else {
        format!("{} {times}", days.join(","))
    }
}

/// `Mon-Fri`, `Sat,Sun`, `Fri-Mon`.
fn days(text: &str) -> Result<u8, Refusal> {
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let length = (last + 7 - first) % 7;
        for n in 0..=length {
            days |= 1 << ((first + n) % 7);
        }
    }
    Ok(days)
}

fn day(text: &str) -> Result<usize, Refusal> {
    let known = DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        let fix = format!("the days are {}", DAYS.join(", "));
        Refusal::new(format!("{text:?} is no day of the week"), fix)
    })
}

/// `22:30` as a minute of the day; 24:00 is its end.
fn minute(text: &str) -> Result<u16, Refusal> {
    let two_digits = |part: &str| {
        let fits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let parsed = text.split_once(':').and_then(|(hour, minute)| {
        let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
        let of_day = hour * 60 + minute;
        (minute < 60 && of_day <= 24 * 60).then_some(of_day)
    });
    parsed.ok_or_else(|| Refusal::new(format!("{text:?} is no time of the day"), FORM))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_days_and_times() {
        for (text, days, from, to) in [
            ("Mon-Fri 22:00-06:00", 0b001_1111, 22 * 60, 6 * 60),
            ("Sat,Sun 00:00-24:00", 0b110_0000, 0, 24 * 60),
            ("fri-mon 09:30-10:00", 0b111_0001, 9 * 60 + 30, 600),
            ("01:00-02:00", 0b111_1111, 60, 120),
        ] {
            let read = Window { days, from, to };
            assert_eq!(window(text), Ok(read), "{text}");
            assert_eq!(window(&text_of(&read)), Ok(read), "{text}");
        }
    }

    #[test]
    fn windows_that_cannot_be_are_refused() {
        for text in [
            "",
            "Mon",
            "Mon 22:00",
            "Mon 22-06",
            "Mon 24:00-06:00",
            "Mon 06:00-06:00",
            "Mon 24:01-25:00",
            "Mon 10:60-11:00",
            "Mo 10:00-11:00",
            "Mon- 10:00-11:00",
            "Mon 10:00-11:00 UTC",
        ] {
            assert!(window(text).is_err(), "{text:?}");
        }
    }
}
