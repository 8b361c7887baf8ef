use crate::{Form, Plan, Pointer, Read, Source};

#[allow(clippy::derivable_impls, reason = "the type is generated")]
impl Default for Plan {
    fn default() -> Self {
        Self { reads: Vec::new(), writes: Vec::new() }
    }
}

impl Plan {
    /// The number of the column of this field, asked for as a list of values. A field that is
    /// read already is not read twice.
    pub fn read(&mut self, field: &Pointer) -> u32 {
        self.column(field, Form::Values)
    }

    /// As [`Plan::read`], in one buffer whenever every value is a text: the faster form for
    /// fields whose values are mostly distinct. Once asked for, the column stays packed.
    pub fn read_packed(&mut self, field: &Pointer) -> u32 {
        self.column(field, Form::Packed)
    }

    /// The number of this field for [`Change`](crate::Change)s. A field that is written already
    /// keeps its number.
    pub fn write(&mut self, field: &Pointer) -> u32 {
        let found = self.writes.iter().position(|write| write == field.as_str());
        let place = found.unwrap_or_else(|| {
            self.writes.push(field.as_str().to_owned());
            self.writes.len() - 1
        });
        place as u32
    }

    fn column(&mut self, field: &Pointer, form: Form) -> u32 {
        let source =
            |read: &Read| matches!(&read.source, Source::Field(name) if name == field.as_str());
        if let Some(column) = self.reads.iter().position(source) {
            if form == Form::Packed {
                self.reads[column].form = form;
            }
            return column as u32;
        }
        self.reads.push(Read { source: Source::Field(field.as_str().to_owned()), form });
        (self.reads.len() - 1) as u32
    }
}
