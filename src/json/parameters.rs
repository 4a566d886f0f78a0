//! Parameters of the Open Inference Protocol: where the elements of tensors are, and where they are to go.

use jiter::Peek;

use super::reader::Reader;
use crate::error::Result;

/// Where an answer has the elements of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// In the JSON text.
    #[default]
    Text,
    /// As bytes behind it: the binary tensor extension.
    Binary,
}

/// What the parameters of a request, an input or an output say that matters here.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// Bytes of this input behind the text.
    pub(super) binary_size: Option<usize>,
    /// Where this output goes.
    pub(super) output: Option<Place>,
    /// Where all outputs go.
    pub(super) outputs: Option<Place>,
}

#[derive(Clone, Copy)]
enum Key {
    Size,
    Output,
    Outputs,
    SharedMemory,
    Classification,
    ContentType,
}

const KEYS: [(&str, Key); 8] = [
    ("binary_data_size", Key::Size),
    ("binary_data", Key::Output),
    ("binary_data_output", Key::Outputs),
    ("shared_memory_region", Key::SharedMemory),
    ("shared_memory_byte_size", Key::SharedMemory),
    ("shared_memory_offset", Key::SharedMemory),
    ("classification", Key::Classification),
    ("content_type", Key::ContentType),
];

/// Reads parameters. Those that are not known are passed over, as the protocol wants it.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    if reader.peek()? != Peek::Object {
        reader.skip()?;
        return Ok(parameters);
    }
    let position = |key: &str| Ok(KEYS.iter().position(|(known, _)| *known == key));
    let mut next = reader.first_key(position)?;
    while let Some(found) = next {
        match found.map(|index| KEYS[index]) {
            None => reader.skip()?,
            // `"binary_data": false` asks for what is done anyway.
            Some((name, key)) => match (key, reader.peek()?) {
                (Key::SharedMemory, _) => {
                    let problem = format!("got the parameter `{name}`: tensors in shared memory are not taken");
                    return Err(reader.error(problem, "send the tensor's elements in the request"));
                }
                (Key::Classification, peek) if reader.size(peek)? != Some(0) => {
                    let problem = "got the parameter `classification`: outputs are not turned into classes";
                    return Err(reader.error(problem, "ask for the output as it is, and look for the largest there"));
                }
                (Key::Classification, _) => {}
                // MLServer's name for what the elements are. All but this one leave them what they are.
                (Key::ContentType, Peek::String) => {
                    if reader.text("`content_type`")?.split(';').next() == Some("base64") {
                        let problem = "got the parameter `content_type` base64: texts are taken as they are";
                        return Err(
                            reader.error(problem, "send the texts themselves, or bytes of UTF-8 as binary data")
                        );
                    }
                }
                (Key::ContentType, _) => reader.skip()?,
                (key, Peek::False) => {
                    reader.skip()?;
                    parameters.note(key, Place::Text);
                }
                _ if !reader.takes_binary() => {
                    let problem = format!("got the parameter `{name}`: tensors outside the JSON text are not taken");
                    let fix = "send the tensor's elements as `data`, and ask for no binary outputs";
                    return Err(reader.error(problem, fix));
                }
                (Key::Size, peek) => match reader.size(peek)?.map(usize::try_from) {
                    Some(Ok(size)) => parameters.binary_size = Some(size),
                    _ => return Err(reader.error("got no number of bytes for `binary_data_size`", SIZE)),
                },
                (key, Peek::True) => {
                    reader.skip()?;
                    parameters.note(key, Place::Binary);
                }
                _ => {
                    return Err(reader.error(format!("got neither true nor false for `{name}`"), "send true or false"));
                }
            },
        }
        next = reader.next_key(position)?;
    }
    Ok(parameters)
}

const SIZE: &str = "send how many bytes of elements the tensor has behind the JSON text";

impl Parameters {
    fn note(&mut self, key: Key, place: Place) {
        match key {
            Key::Output => self.output = Some(place),
            Key::Outputs => self.outputs = Some(place),
            Key::Size | Key::SharedMemory | Key::Classification | Key::ContentType => {}
        }
    }
}
