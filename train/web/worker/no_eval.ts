/** Imported first: the page's security policy forbids code from strings, which zod would try before its other way. */
import { config } from 'zod'

config({ jitless: true })
