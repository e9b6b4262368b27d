/** Networks as functions of graph Values. */
export { resnet, architectures, type Architecture, type Backbone, type ResNetOptions, type Stem } from './resnet.js'
export { identifyResNet, type IdentifiedResNet } from './identify_resnet.js'
export { projector, type Projector } from './projector.js'
export { predictor, type Predictor } from './predictor.js'
export { StateDict, batchNormLayer, convLayer, linearLayer, type Mode } from './layers.js'
export { checkValues, exportStateDict, importStateDict } from './state_dict.js'
export { encodeOnnx, type OnnxNetwork } from './onnx.js'
export { decodeSafetensors, encodeSafetensors, toFloat32, type SafetensorsTensor } from './safetensors.js'
