import { run } from '../../run.js';

export const dynamic = 'force-dynamic';
export const GET = run;
