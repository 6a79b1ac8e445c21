//! Aligned columns for people. Programs use `--json`.

use std::fmt;

/// A table with a head. A column whose title begins with `<` holds numbers, and
/// is aligned to the right; the `<` is not shown.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

struct Column {
    right: bool,
    width: usize,
}

impl Table {
    /// A table without rows.
    pub fn new(titles: &[&str]) -> Self {
        let columns = titles.iter().map(|t| Column { right: t.starts_with('<'), width: 0 });
        let mut table = Self { columns: columns.collect(), rows: Vec::new() };
        table.row(titles.iter().map(|title| title.trim_start_matches('<').to_owned()));
        table
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has another number of cells than the head.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // What others named (a zone, an account) must not move the cursor.
        let cells: Vec<String> =
            cells.into_iter().map(|cell| cell.replace(char::is_control, "?")).collect();
        assert_eq!(cells.len(), self.columns.len(), "a row has as many cells as the head");
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            column.width = column.width.max(cell.chars().count());
        }
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let mut line = String::new();
            for (Column { right, width }, cell) in self.columns.iter().zip(row) {
                match right {
                    true => line.push_str(&format!("{cell:>width$}  ")),
                    false => line.push_str(&format!("{cell:<width$}  ")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// `name  value` lines, aligned, for one thing.
pub fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let facts: Vec<(&str, String)> = facts.into_iter().collect();
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts
        .into_iter()
        .map(|(name, value)| format!("{name:<width$}  {}\n", value.replace(char::is_control, "?")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "<BYTES", "STATE"]);
        table.row(["é".into(), "1.0 KiB".into(), String::new()]);
        table.row(["longer\n".into(), "7 B".into(), "up".into()]);
        assert_eq!(
            table.to_string(),
            "NAME       BYTES  STATE\n\
             é        1.0 KiB\n\
             longer?      7 B  up\n"
        );
    }

    #[test]
    fn facts_are_aligned() {
        let text = facts([("name", "a".into()), ("email", "b\u{1b}[2J".into())]);
        assert_eq!(text, "name   a\nemail  b?[2J\n");
    }
}
