import { run } from '../../run.js';

export const runtime = 'edge';
export const dynamic = 'force-dynamic';
export const GET = run;
