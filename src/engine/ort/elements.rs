//! Dtypes as ONNX Runtime's types of elements.

use ::ort::sys::ONNXTensorElementDataType as ElementType;

use crate::tensor::DType;

const ELEMENT_TYPES: [(DType, ElementType); 13] = [
    (DType::Float16, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16),
    (DType::Float32, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT),
    (DType::Float64, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE),
    (DType::Int8, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8),
    (DType::Int16, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16),
    (DType::Int32, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32),
    (DType::Int64, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64),
    (DType::Uint8, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8),
    (DType::Uint16, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16),
    (DType::Uint32, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32),
    (DType::Uint64, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64),
    (DType::Bool, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL),
    (DType::String, ElementType::ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING),
];

pub(super) fn element_type(dtype: DType) -> ElementType {
    // The table is in the order of `DType`; a test holds it to that.
    ELEMENT_TYPES[dtype as usize].1
}

pub(super) fn dtype_of(element: ElementType) -> Option<DType> {
    ELEMENT_TYPES.iter().find(|(_, known)| *known == element).map(|(dtype, _)| *dtype)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    pub(super) fn element_types_match_dtypes() {
        assert_eq!(ELEMENT_TYPES.len(), DType::ALL.len());
        for (dtype, (listed, element)) in DType::ALL.iter().zip(ELEMENT_TYPES) {
            assert_eq!((*dtype, element), (listed, element_type(*dtype)));
            assert_eq!(dtype_of(element), Some(*dtype));
        }
    }
}
