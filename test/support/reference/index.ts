export * from './tensor.js';
export * from './linear.js';
export * from './norm.js';
export * from './elementwise.js';
export * from './pool.js';
export * from './loss.js';
export * from './optimizers.js';
export * from './gradient.js';
