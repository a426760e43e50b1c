//! Rows under headings, each column as wide as its widest cell.

/// A table that is printed at once.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    is_number: Vec<bool>,
}

impl Table {
    /// A table with these headings. Columns whose heading begins with `#` hold numbers, which stand
    /// at the right.
    pub(crate) fn new(headings: &[&str]) -> Table {
        let is_number = headings.iter().map(|heading| heading.starts_with('#')).collect();
        let headings = headings.iter().map(|heading| heading.trim_start_matches('#').to_owned());
        Table { rows: vec![headings.collect()], is_number }
    }

    /// Add a row with as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
        debug_assert_eq!(self.rows[0].len(), self.rows[self.rows.len() - 1].len());
    }

    /// The lines, headings first.
    pub(crate) fn lines(&self) -> Vec<String> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.is_number.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).zip(&self.is_number);
            let cells = cells.map(|((cell, &width), is_number)| match is_number {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            cells.collect::<Vec<String>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_at_the_left_and_numbers_at_the_right() {
        let mut table = Table::new(&["queue", "#ready", "state"]);
        table.row(["emails".to_owned(), "7".to_owned(), String::new()]);
        table.row(["q".to_owned(), "1234567".to_owned(), "paused".to_owned()]);
        let lines = ["queue     ready  state", "emails        7", "q       1234567  paused"];
        assert_eq!(table.lines(), lines);
    }
}
