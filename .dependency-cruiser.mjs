/** Import cycles: `npm run lint` fails on one that is not listed here. Only imports of values count. */
import { fileURLToPath } from 'node:url'

/** Groups of files that may import each other, and why. */
const allowedCycles = [{ files: '^engine/ops/(elementwise|reduce)\\.ts$', reason: "each is the other's gradient" }]

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-cycle',
      comment: `Allowed: ${allowedCycles.map(({ files, reason }) => `${files} (${reason})`).join(', ')}.`,
      severity: 'error',
      // A cycle that leaves an allowed group is still reported, from its other files.
      from: { pathNot: allowedCycles.map(({ files }) => files) },
      to: { circular: true },
    },
  ],
  options: {
    // Imports as TypeScript compiles them: type-only imports are gone, dynamic imports remain.
    tsPreCompilationDeps: false,
    tsConfig: { fileName: fileURLToPath(new URL('tsconfig.json', import.meta.url)) },
    doNotFollow: { path: 'node_modules' },
  },
}
