//! "Did you mean": the known word closest to a mistyped one.

/// What to say about `word`, of which `known` are the words that could have stood there.
pub(super) fn instead<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    // A third of the letters may be wrong: enough for slips, too little for another word.
    let tolerance = (word.len() / 3).max(2);
    let nearest = known.clone().map(|name| (distance(word, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= tolerance => format!("did you mean `{name}`?"),
        _ => format!("known are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Letters to insert, delete or replace to get from `a` to `b` (Levenshtein), a row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_letter_edits() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_slip_is_corrected_and_another_word_gets_the_list() {
        let known = ["listen", "threads"];
        assert_eq!(instead("lisen", known.into_iter()), "did you mean `listen`?");
        assert_eq!(instead("port", known.into_iter()), "known are listen, threads");
    }
}
